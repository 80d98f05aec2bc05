# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The camera motion data set as files: mp4 videos and annotations."""
import json
import os
import os.path as osp
import uuid
import zlib
from contextlib import contextmanager
from typing import Dict, Optional, Sequence

import cv2
import numpy as np
from mmengine.logging import print_log
from mmengine.utils import track_progress_rich

from .moving_camera import CLASSES, render_clip

NUM_VIDEOS = dict(train=4096, val=1024)

_FPS = 8
_VERSION = 1  # to be raised when equal parameters give other videos


def make_camera_motion(data_root: str,
                       num_videos: Optional[Dict[str, int]] = None,
                       num_frames: int = 16,
                       size: Sequence[int] = (64, 48),
                       speed: Sequence[float] = (4., 8.),
                       seed: int = 0) -> None:
    """Write the camera motion data set, except what is already there.

    A split is a folder of videos, ``train/00000.mp4``, an annotation file
    ``train.txt`` as :class:`mmaction.datasets.VideoDataset` reads it, and,
    written last, ``train.json`` with the parameters and the size of each
    video. ``classes.txt`` names the classes. A video depends on the
    parameters, the split and its index alone. Lost or truncated videos are
    made again; without ``train.json``, all of them are.

    Args:
        data_root (str): Folder to write into.
        num_videos (dict[str, int], optional): Number of videos of each split
            to be made. Defaults to None, 4096 for train and 1024 for val.
        num_frames (int): Frames of a video, at 8 frames a second.
            Defaults to 16.
        size (Sequence[int]): Width and height, even, in pixels.
            Defaults to (64, 48).
        speed (Sequence[float]): Lowest and highest speed of the camera, in
            pixels a frame, see :func:`render_clip`. Defaults to (4., 8.).
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
            seed=seed)
        _make_split(data_root, split, parameters)


def _check_parameters(num_videos, num_frames, size, speed):
    if num_videos < 1:
        raise ValueError(f'num_videos must be at least 1, got {num_videos}.')
    if num_frames < 2:
        raise ValueError(f'num_frames must be at least 2, got {num_frames}.')
    if len(size) != 2 or any(side < 16 or side % 2 for side in size):
        raise ValueError('size must be (width, height), both even and at '
                         f'least 16 pixels, but got {size}.')
    if len(speed) != 2 or not 0 < speed[0] <= speed[1]:
        raise ValueError('speed must be (lowest, highest) in pixels a frame, '
                         f'0 < lowest <= highest, but got {speed}.')


def _make_split(data_root, split, parameters):
    manifest = osp.join(data_root, f'{split}.json')
    sizes = _recorded_sizes(manifest, parameters)
    labels = _labels(split, parameters)
    names = [f'{split}/{i:05d}.mp4' for i in range(len(labels))]
    missing = [
        i for i, name in enumerate(names)
        if sizes.get(name, -1) != _file_size(osp.join(data_root, name))
    ]
    if missing:
        os.makedirs(osp.join(data_root, split), exist_ok=True)
        paths = [osp.join(data_root, names[i]) for i in missing]
        tasks = [(path, split, i, labels[i], parameters)
                 for path, i in zip(paths, missing)]
        sizes.update(zip((names[i] for i in missing), _write_videos(tasks)))
    lines = [f'{name} {label}\n' for name, label in zip(names, labels)]
    _write_text(osp.join(data_root, f'{split}.txt'), ''.join(lines))
    _write_text(osp.join(data_root, 'classes.txt'), '\n'.join(CLASSES) + '\n')
    _write_text(manifest, json.dumps(dict(parameters=parameters, files=sizes)))


def _recorded_sizes(manifest, parameters):
    """Sizes of the files that the manifest lists; none without one."""
    if not osp.exists(manifest):
        return {}
    with open(manifest) as f:
        record = json.load(f)
    there = record['parameters']
    changed = [
        f'{key} is {there.get(key)} there, {value} was asked for'
        for key, value in parameters.items() if there.get(key) != value
    ]
    if changed:
        raise ValueError(
            f'{osp.dirname(manifest)} holds camera motion videos made with '
            f'other parameters: {"; ".join(changed)}. Delete the folder or '
            'choose another data_root.')
    return record['files']


def _labels(split, parameters):
    """As many videos of each class as of any other, in random order."""
    labels = np.arange(parameters['num_videos']) % len(CLASSES)
    rng = _rng(parameters['seed'], split, 0)
    return rng.permutation(labels).tolist()


def _rng(seed, split, stream):
    """Stream 0 is for the labels of a split, i + 1 for its video i."""
    entropy = seed, zlib.crc32(split.encode()), stream
    return np.random.default_rng(np.random.SeedSequence(entropy))


def _write_videos(tasks):
    """Write all videos, on all cores, and return the sizes of the files."""
    print_log(
        f'Making {len(tasks)} camera motion videos, the first of them '
        f'{tasks[0][0]}',
        logger='current')
    # Starting a process pays off from some dozens of videos on.
    processes = max(1, min(os.cpu_count(), len(tasks) // 64))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the processes take all the cores already
    try:
        return track_progress_rich(
            _write_video,
            tasks,
            nproc=processes,
            chunksize=16,
            description='camera motion')
    finally:
        cv2.setNumThreads(threads)


def _write_video(path, split, index, label, parameters):
    """Render one video and move it into its place when it is whole."""
    frames = render_clip(
        _rng(parameters['seed'], split, index + 1), label,
        parameters['num_frames'], parameters['size'], parameters['speed'])
    temporary = f'{path[:-4]}.{uuid.uuid4().hex}.mp4'
    # Motion JPEG, since a frame coded by its difference from the one before
    # it carries traces of the motion, which a model could learn from.
    codec = cv2.VideoWriter_fourcc(*'MJPG')
    with _silent_stderr():
        writer = cv2.VideoWriter(temporary, cv2.CAP_FFMPEG, codec, _FPS,
                                 tuple(parameters['size']))
    if not writer.isOpened():
        raise RuntimeError(f'OpenCV cannot write {temporary}: its FFmpeg '
                           'must have the mp4 format and Motion JPEG.')
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    os.replace(temporary, path)
    return osp.getsize(path)


@contextmanager
def _silent_stderr():
    """Keep back what FFmpeg says of each file, that mp4 stores Motion JPEG
    under the tag mp4v. No setting of OpenCV does it."""
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)


def _file_size(path):
    return osp.getsize(path) if osp.exists(path) else None


def _write_text(path, text):
    """Write a whole file at once; leave it alone where it is right."""
    if osp.exists(path):
        with open(path) as f:
            if f.read() == text:
                return
    temporary = f'{path}.{uuid.uuid4().hex}'
    with open(temporary, 'w') as f:
        f.write(text)
    os.replace(temporary, path)
