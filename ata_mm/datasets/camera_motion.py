# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The camera motion data set: video files with annotations, made on demand.

It needs no download and separates temporal from spatial modelling: see
:mod:`.rendering`.
"""

import functools
import json
import os
import os.path as osp
import uuid
import zlib
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import cv2
import numpy as np
from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import put_text
from mmengine.logging import print_log
from mmengine.utils import track_progress_rich

from ata_mm.video import write_video

from .rendering import CLASSES, render_clip

NUM_VIDEOS = dict(train=4096, val=1024)

_FPS = 8
_VERSION = 1  # increase when equal parameters give other videos

# Path, split, index, label and parameters of a video.
_Task = Tuple[str, str, int, int, Dict[str, Any]]


@DATASETS.register_module()
class CameraMotionDataset(VideoDataset):
    """Data set of camera motions, made on first use.

    Eight classes that no single frame distinguishes: see
    :func:`make_camera_motion`. In distributed training the main process makes
    the videos and the others wait; on several nodes, ``data_root`` has to be a
    folder that all of them share. The results that the pipeline transforms
    contain ``speed``, that of the camera in pixels per frame.

    Args:
        data_root (str): Folder of the data.
        split (str): ``'train'`` or ``'val'``.
        pipeline (list): Data transforms, as in ``VideoDataset``.
        num_videos (int, optional): Number of videos of this split. Defaults
            to None, 4096 for train and 1024 for val.
        num_frames (int): Frames of a video. Defaults to 16.
        size (Sequence[int]): Width and height, in pixels.
            Defaults to (64, 48).
        speed (Sequence[float]): Lowest and highest speed of the camera, in
            pixels per frame. Defaults to (4., 8.).
        seed (int): Seed of the whole data set. Defaults to 0.
        **kwargs: Further arguments of ``VideoDataset``, such as
            ``test_mode``.

    Raises:
        ValueError: If ``split`` is unknown, a parameter is out of range, or
            ``data_root`` holds videos made with other parameters.
    """

    METAINFO = dict(classes=CLASSES)

    def __init__(
        self,
        data_root: str,
        split: str,
        pipeline: List[Union[dict, Callable]],
        num_videos: Optional[int] = None,
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
            make_camera_motion(
                data_root, {split: number}, num_frames, size, speed, seed
            )
        barrier()
        self._speed_of = functools.partial(_speed, split, seed, speed)
        super().__init__(
            f'{split}.txt', pipeline, data_root=data_root, **kwargs
        )

    def load_data_list(self) -> List[dict]:
        """Return file name, label and speed (pixels per frame) of videos."""
        videos = super().load_data_list()
        return [dict(v, speed=self._speed_of(i)) for i, v in enumerate(videos)]


def make_camera_motion(
    data_root: str,
    num_videos: Optional[Dict[str, int]] = None,
    num_frames: int = 16,
    size: Sequence[int] = (64, 48),
    speed: Sequence[float] = (4.0, 8.0),
    seed: int = 0,
) -> None:
    """Write the missing files of the camera motion data set.

    A split consists of a folder of videos, ``train/00000.mp4``, an annotation
    file ``train.txt`` as :class:`mmaction.datasets.VideoDataset` reads it,
    and, written last, ``train.json`` with the parameters and the size of each
    video. ``classes.txt`` names the classes. A video depends only on the
    parameters, the split and its index. Lost or truncated videos are
    restored; without ``train.json``, all videos are written again.

    Args:
        data_root (str): Folder to write into.
        num_videos (dict[str, int], optional): Number of videos of each split
            to make. Defaults to None, 4096 for train and 1024 for val.
        num_frames (int): Frames of a video, at 8 frames per second.
            Defaults to 16.
        size (Sequence[int]): Width and height, even, in pixels.
            Defaults to (64, 48).
        speed (Sequence[float]): Lowest and highest speed of the camera, in
            pixels per frame, see :func:`render_clip`. Defaults to (4., 8.).
        seed (int): Seed of the whole data set. Defaults to 0.

    Raises:
        ValueError: If a parameter is out of range, or if ``data_root`` holds
            videos made with other parameters.
    """
    for split, number in (num_videos or NUM_VIDEOS).items():
        _check_parameters(number, num_frames, size, speed)
        parameters = dict(
            version=_VERSION,
            num_videos=number,
            num_frames=num_frames,
            size=list(size),
            speed=[float(v) for v in speed],
            seed=seed,
        )
        _make_split(data_root, split, parameters)


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


def _make_split(
    data_root: str, split: str, parameters: Dict[str, Any]
) -> None:
    """Write the missing videos of a split, and its text files."""
    manifest = osp.join(data_root, f'{split}.json')
    sizes = _recorded_sizes(manifest, parameters)
    labels = _labels(split, parameters)
    names = [f'{split}/{i:05d}.mp4' for i in range(len(labels))]
    missing = [
        i
        for i, name in enumerate(names)
        if sizes.get(name, -1) != _file_size(osp.join(data_root, name))
    ]
    if missing:
        os.makedirs(osp.join(data_root, split), exist_ok=True)
        paths = [osp.join(data_root, names[i]) for i in missing]
        tasks = [
            (path, split, i, labels[i], parameters)
            for path, i in zip(paths, missing)
        ]
        sizes.update(zip((names[i] for i in missing), _write_videos(tasks)))
    lines = [f'{name} {label}\n' for name, label in zip(names, labels)]
    _write_text(osp.join(data_root, f'{split}.txt'), ''.join(lines))
    _write_text(osp.join(data_root, 'classes.txt'), '\n'.join(CLASSES) + '\n')
    _write_text(manifest, json.dumps(dict(parameters=parameters, files=sizes)))


def _recorded_sizes(
    manifest: str, parameters: Dict[str, Any]
) -> Dict[str, int]:
    """Return the file sizes in the manifest, empty if there is none."""
    if not osp.exists(manifest):
        return {}
    with open(manifest) as f:
        record = json.load(f)
    found = record['parameters']
    changed = [
        f'{key}={found.get(key)} instead of {value}'
        for key, value in parameters.items()
        if found.get(key) != value
    ]
    if changed:
        raise ValueError(
            'Expected camera motion videos of the given parameters in '
            f'{osp.dirname(manifest)}, got {", ".join(changed)}. Delete the '
            'folder or choose another data_root.'
        )
    return record['files']


def _labels(split: str, parameters: Dict[str, Any]) -> List[int]:
    """Return balanced labels in random order."""
    labels = np.arange(parameters['num_videos']) % len(CLASSES)
    rng = _rng(parameters['seed'], split, 0)
    return rng.permutation(labels).tolist()


def _rng(seed: int, split: str, stream: int) -> np.random.Generator:
    """Return the generator of a split's labels (0) or of video i (i + 1)."""
    entropy = seed, zlib.crc32(split.encode()), stream
    return np.random.default_rng(np.random.SeedSequence(entropy))


def _speed(split: str, seed: int, speed: Sequence[float], index: int) -> float:
    """Return the speed of video i: the first draw of its generator."""
    return _rng(seed, split, index + 1).uniform(speed[0], speed[1])


def _write_videos(tasks: List[_Task]) -> List[int]:
    """Write all videos in parallel, and return the sizes of the files."""
    print_log(
        f'Making {len(tasks)} camera motion videos, the first is '
        f'{tasks[0][0]}',
        logger='current',
    )
    # A process pool is faster from some dozens of videos on.
    processes = max(1, min(os.cpu_count() or 1, len(tasks) // 64))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the processes already use all cores
    try:
        return track_progress_rich(
            _write_video,
            tasks,
            nproc=processes,
            chunksize=16,
            description='camera motion',
        )
    finally:
        cv2.setNumThreads(threads)


def _write_video(
    path: str, split: str, index: int, label: int, parameters: Dict[str, Any]
) -> int:
    """Render a video, and move it to its path when it is complete."""
    frames = render_clip(
        _rng(parameters['seed'], split, index + 1),
        label,
        parameters['num_frames'],
        parameters['size'],
        parameters['speed'],
    )
    temporary = f'{path[:-4]}.{uuid.uuid4().hex}.mp4'
    # Motion JPEG codes every frame by itself. Codecs that predict frames from
    # the previous one leave traces of the motion, which a model could learn.
    write_video(temporary, frames, _FPS, codec='MJPG')
    os.replace(temporary, path)
    return osp.getsize(path)


def _file_size(path: str) -> Optional[int]:
    return osp.getsize(path) if osp.exists(path) else None


def _write_text(path: str, text: str) -> None:
    """Write a file atomically, unless it already has this content."""
    if osp.exists(path):
        with open(path) as f:
            if f.read() == text:
                return
    put_text(text, path)
