# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Data sets of rendered videos: files with annotations, made on demand."""

import functools
import json
import os
import os.path as osp
import uuid
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import list_from_file, put_text
from mmengine.logging import print_log
from mmengine.utils import track_progress_rich

from ata_mm.video import write_video

from .layers import Layer

NUM_VIDEOS = dict(train=4096, val=1024, test=1024)

_FPS = 8

# Path, split, index, label and parameters of a video.
_Task = tuple[str, str, int, int, dict[str, Any]]


class RenderedDataset(VideoDataset):
    """Base class of data sets whose videos are rendered on first use.

    A split consists of a folder of videos, ``train/00000.mp4``, an annotation
    file ``train.txt`` as :class:`mmaction.datasets.VideoDataset` reads it,
    and, written last, ``train.json`` with the parameters and the size of each
    video. ``classes.txt`` names the classes. A video depends only on the
    parameters, the split and its index. Lost or truncated videos are
    restored; without ``train.json``, or if it is damaged, all videos are
    written again.

    A subclass sets ``METAINFO`` with the ``classes``, ``NAME`` and
    ``VERSION``, and overrides `render` and `layers`, which draw the speed
    first. In distributed training the main process makes the videos and the
    others wait; on several nodes, ``data_root`` has to be a folder that all of
    them share. The results that the pipeline transforms contain ``speed``, in
    pixels per frame, and ``layers``, a function that returns the true motion
    in pixels of ``size``.

    Args:
        data_root (str): Folder of the data.
        split (str): ``'train'``, ``'val'`` or ``'test'``.
        pipeline (list): Data transforms, as in ``VideoDataset``.
        num_videos (int, optional): Number of videos of this split. Defaults
            to None, 4096 for train and 1024 for the others.
        num_frames (int): Frames of a video, at 8 frames per second. Defaults
            to 16.
        size (Sequence[int]): Width and height, even, in pixels.
            Defaults to (64, 48).
        speed (Sequence[float]): Lowest and highest speed, in pixels per frame.
            Defaults to (4., 8.).
        seed (int): Seed of the whole data set. Defaults to 0.
        **kwargs: Further arguments of ``VideoDataset``, such as
            ``test_mode``.

    Raises:
        ValueError: If ``split`` is unknown, a parameter is out of range, or
            ``data_root`` holds videos of another data set or made with other
            parameters.
    """

    #: Name in messages and in ``train.json``.
    NAME: str
    #: Increased when equal parameters give other videos.
    VERSION: int = 1

    def __init__(
        self,
        data_root: str,
        split: str,
        pipeline: list[dict | Callable],
        num_videos: int | None = None,
        num_frames: int = 16,
        size: Sequence[int] = (64, 48),
        speed: Sequence[float] = (4.0, 8.0),
        seed: int = 0,
        **kwargs,
    ) -> None:
        if split not in NUM_VIDEOS:
            raise ValueError(
                f'Expected split to be one of {list(NUM_VIDEOS)}, got '
                f'{split!r}.'
            )
        if is_main_process():
            number = NUM_VIDEOS[split] if num_videos is None else num_videos
            self.make(
                data_root, {split: number}, num_frames, size, speed, seed
            )
        barrier()
        self._rng_of = functools.partial(_video_rng, seed, split)
        self._clip = num_frames, size, speed
        self._scenes = self.scenes(split)
        super().__init__(
            f'{split}.txt', pipeline, data_root=data_root, **kwargs
        )

    @staticmethod
    def scenes(split: str) -> dict[str, Any]:
        """Return further arguments of `render` and `layers` for a split.

        Args:
            split (str): Name of the split.

        Returns:
            dict: Nothing by default.
        """
        return {}

    @staticmethod
    def render(
        rng: np.random.Generator,
        label: int,
        num_frames: int,
        size: Sequence[int],
        speed: Sequence[float],
    ) -> np.ndarray:
        """Render a clip.

        Args:
            rng (np.random.Generator): Source of all randomness. Its first
                draw is the speed.
            label (int): The class.
            num_frames (int): Number of frames T.
            size (Sequence[int]): Width W and height H, in pixels.
            speed (Sequence[float]): Lowest and highest speed.

        Returns:
            np.ndarray: RGB frames (T, H, W, 3), uint8.
        """
        raise NotImplementedError

    @staticmethod
    def layers(
        rng: np.random.Generator,
        label: int,
        num_frames: int,
        size: Sequence[int],
        speed: Sequence[float],
    ) -> list[Layer]:
        """Return the true motion of the clip that `render` renders.

        Args:
            rng (np.random.Generator): In the same state as for `render`.
            label (int): As of `render`, like the other arguments.
            num_frames (int): Number of frames T.
            size (Sequence[int]): Width and height.
            speed (Sequence[float]): Lowest and highest speed.

        Returns:
            list[Layer]: The planes, the farthest first, in pixels of
            ``size``.
        """
        raise NotImplementedError

    @classmethod
    def make(
        cls,
        data_root: str,
        num_videos: dict[str, int] | None = None,
        num_frames: int = 16,
        size: Sequence[int] = (64, 48),
        speed: Sequence[float] = (4.0, 8.0),
        seed: int = 0,
    ) -> None:
        """Write the missing files.

        Args:
            data_root (str): Folder to write into.
            num_videos (dict[str, int], optional): Number of videos of each
                split to make. Defaults to None, 4096 for train and 1024 for
                val and test.
            num_frames (int): As of the class, like the other arguments.
                Defaults to 16.
            size (Sequence[int]): Defaults to (64, 48).
            speed (Sequence[float]): Defaults to (4., 8.).
            seed (int): Defaults to 0.

        Raises:
            ValueError: If a parameter is out of range, or if ``data_root``
                holds videos of another data set or made with other
                parameters.
        """
        for split, number in (num_videos or NUM_VIDEOS).items():
            _check_parameters(number, num_frames, size, speed)
            parameters = dict(
                name=cls.NAME,
                version=cls.VERSION,
                num_videos=number,
                num_frames=num_frames,
                size=list(size),
                speed=[float(v) for v in speed],
                seed=seed,
            )
            cls._make_split(data_root, split, parameters)

    @classmethod
    def _make_split(
        cls, data_root: str, split: str, parameters: dict[str, Any]
    ) -> None:
        """Write the missing videos of a split, and its text files."""
        manifest = osp.join(data_root, f'{split}.json')
        classes = cls.METAINFO['classes']
        sizes = _recorded_sizes(manifest, classes, parameters)
        labels = _labels(split, parameters, len(classes))
        names = [f'{split}/{i:05d}.mp4' for i in range(len(labels))]
        missing = [
            i
            for i, name in enumerate(names)
            if sizes.get(name, -1) != _file_size(osp.join(data_root, name))
        ]
        if missing:
            os.makedirs(osp.join(data_root, split), exist_ok=True)
            paths = [osp.join(data_root, names[i]) for i in missing]
            written = cls._write_videos(
                [
                    (path, split, i, labels[i], parameters)
                    for path, i in zip(paths, missing)
                ]
            )
            sizes.update(zip((names[i] for i in missing), written))
        lines = [f'{name} {label}\n' for name, label in zip(names, labels)]
        _write_text(osp.join(data_root, f'{split}.txt'), ''.join(lines))
        _write_text(
            osp.join(data_root, 'classes.txt'), '\n'.join(classes) + '\n'
        )
        _write_text(
            manifest, json.dumps(dict(parameters=parameters, files=sizes))
        )

    @classmethod
    def _write_videos(cls, tasks: list[_Task]) -> list[int]:
        """Write all videos in parallel, and return the sizes of the files."""
        print_log(
            f'Making {len(tasks)} {cls.NAME} videos, the first is '
            f'{tasks[0][0]}',
            logger='current',
        )
        # A process pool is faster from some dozens of videos on.
        processes = max(1, min(len(os.sched_getaffinity(0)), len(tasks) // 64))
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # the processes already use all cores
        try:
            return track_progress_rich(
                cls.write_video,
                tasks,
                nproc=processes,
                chunksize=16,
                description=cls.NAME,
            )
        finally:
            cv2.setNumThreads(threads)

    @classmethod
    def write_video(
        cls,
        path: str,
        split: str,
        index: int,
        label: int,
        parameters: dict[str, Any],
    ) -> int:
        """Render a video, and move it to its path when it is complete.

        Args:
            path (str): The file.
            split (str): Name of the split.
            index (int): Index of the video in the split.
            label (int): Its class.
            parameters (dict): ``seed``, ``num_frames``, ``size`` and
                ``speed``.

        Returns:
            int: Size of the file in bytes.
        """
        frames = cls.render(
            _video_rng(parameters['seed'], split, index),
            label,
            parameters['num_frames'],
            parameters['size'],
            parameters['speed'],
            **cls.scenes(split),
        )
        temporary = f'{path[:-4]}.{uuid.uuid4().hex}.mp4'
        # Motion JPEG codes every frame by itself. Codecs that predict frames
        # from the previous one leave traces of the motion, which a model could
        # learn.
        write_video(temporary, frames, _FPS, codec='MJPG')
        os.replace(temporary, path)
        return osp.getsize(path)

    def load_data_list(self) -> list[dict]:
        """Return file name, label, index in the split and speed of videos."""
        low, high = self._clip[2]
        return [
            dict(video, index=i, speed=self._rng_of(i).uniform(low, high))
            for i, video in enumerate(super().load_data_list())
        ]

    def get_data_info(self, idx: int) -> dict:
        """Return the results that the pipeline starts from.

        Args:
            idx (int): Index of the video.
        """
        info = super().get_data_info(idx)
        info['size'] = self._clip[1]
        info['layers'] = functools.partial(
            self._layers_of, info['index'], info['label']
        )
        return info

    def _layers_of(self, index: int, label: int) -> list[Layer]:
        rng = self._rng_of(index)
        return self.layers(rng, label, *self._clip, **self._scenes)


def is_rendered(name: str) -> bool:
    """Return whether the data set of a name knows the true motion.

    Args:
        name (str): The ``type`` in a config, in the default scope of the run.
    """
    kind = DATASETS.get(name)
    return kind is not None and issubclass(kind, RenderedDataset)


def _check_parameters(
    num_videos: int,
    num_frames: int,
    size: Sequence[int],
    speed: Sequence[float],
) -> None:
    """Raise if a parameter is out of range."""
    if num_videos < 1:
        raise ValueError(
            f'Expected num_videos of at least 1, got {num_videos}.'
        )
    if num_frames < 2:
        raise ValueError(
            f'Expected num_frames of at least 2, got {num_frames}.'
        )
    if len(size) != 2 or any(side < 16 or side % 2 for side in size):
        raise ValueError(
            'Expected size=(width, height), both even and at '
            f'least 16 pixels, got {size}.'
        )
    if len(speed) != 2 or not 0 < speed[0] <= speed[1]:
        raise ValueError(
            'Expected speed=(lowest, highest) in pixels per frame with '
            f'0 < lowest <= highest, got {speed}.'
        )


def _recorded_sizes(
    manifest: str, classes: Sequence[str], parameters: dict[str, Any]
) -> dict[str, int]:
    """Return the file sizes in the manifest, empty if there is none."""
    try:
        with open(manifest, encoding='utf-8') as f:
            record = json.load(f)
    except (FileNotFoundError, ValueError):  # none, or damaged
        return {}
    folder, name = osp.dirname(manifest), parameters['name']
    found = record['parameters']
    # Earlier versions recorded no name.
    if 'name' not in found and _has_classes(folder, classes):
        found['name'] = name
    changed = [
        f'{key}={found.get(key)} instead of {value}'
        for key, value in parameters.items()
        if found.get(key) != value
    ]
    if changed:
        raise ValueError(
            f'Expected {name} videos of the given parameters in {folder}, got '
            f'{", ".join(changed)}. Delete the folder or choose another '
            'data_root.'
        )
    return record['files']


def _has_classes(folder: str, classes: Sequence[str]) -> bool:
    """Return whether ``classes.txt`` names these, or does not exist."""
    path = osp.join(folder, 'classes.txt')
    return not osp.exists(path) or list_from_file(path) == [*classes]


def _labels(
    split: str, parameters: dict[str, Any], num_classes: int
) -> list[int]:
    """Return balanced labels in random order."""
    labels = np.arange(parameters['num_videos']) % num_classes
    rng = _rng(parameters['seed'], split, 0)
    return rng.permutation(labels).tolist()


def _rng(seed: int, split: str, stream: int) -> np.random.Generator:
    """Return the generator of a split's labels (0) or of video i (i + 1)."""
    entropy = seed, zlib.crc32(split.encode()), stream
    return np.random.default_rng(np.random.SeedSequence(entropy))


def _video_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """Return the generator of a video."""
    return _rng(seed, split, index + 1)


def _file_size(path: str) -> int | None:
    return osp.getsize(path) if osp.exists(path) else None


def _write_text(path: str, text: str) -> None:
    """Write a file atomically, unless it already has this content."""
    if osp.exists(path):
        with open(path, 'rb') as f:
            if f.read() == text.encode('utf-8'):
                return
    put_text(text, path)
