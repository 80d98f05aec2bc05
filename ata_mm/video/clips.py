# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""From a video file to pictures, and to what a model takes."""
import copy
from typing import List, NamedTuple, Optional, Tuple

import cv2
import numpy as np
import torch
from decord import DECORDError
from mmengine.config import Config
from mmengine.dataset import Compose
from torch import Tensor

from ata_mm.apis.inferencer import warn_if_short
from ata_mm.introspection.observation import Block
from ata_mm.models.embeddings import sincos_embedding
from ata_mm.ops import align_frames

from .files import check_video_file, undecodable
from .pipeline import step_names

_PICTURE = 448  # least size of a picture in pixels, however small the input

# ThreeCrop and TenCrop have the crop in the middle last; the latter, flipped
# once more.
_MIDDLE_CROP = {3: 2, 10: 8}


class Clip(NamedTuple):
    """Frames of a video.

    Args:
        frames (list[np.ndarray]): T pictures (height, width, 3), uint8, RGB.
        numbers (list[int]): Which frames of the video they are, from 0.
        inputs (Tensor, optional): One view as a model takes it, with the same
            part of the pictures. None where no model is asked.
    """
    frames: List[np.ndarray]
    numbers: List[int]
    inputs: Optional[Tensor] = None

    @property
    def labels(self) -> List[str]:
        """What is written over each picture."""
        return [f'frame {number}' for number in self.numbers]


def read_view(video: str, cfg: Config, view: Optional[int] = None) -> Clip:
    """Read one view of a video by the test pipeline of a config.

    The pictures are made by the same pipeline at a multiple of its sizes,
    so that they show what a model of few pixels sees, but clearly, to within
    about a pixel of its input at the same place.

    Args:
        video (str): The video file.
        cfg (Config): A config of MMAction2.
        view (int, optional): Which of the views of the pipeline, clips of
            the first crop first. Defaults to None, the one in the middle of
            the video and of the picture.

    Returns:
        Clip: With inputs.

    Raises:
        FileNotFoundError, ValueError: If the file is missing or no video, or
            there is no such view.
    """
    steps = cfg.test_dataloader.dataset.pipeline
    results, packed = _run(video, steps)
    num_frames = results['clip_len']
    numbers = results['frame_inds'].reshape(-1, num_frames)
    inputs = packed['inputs']
    if inputs.ndim == 4:  # frames of a Recognizer2D: one clip a crop
        num_frames = results['frame_inds'].size
        numbers = numbers.reshape(1, -1)
        inputs = inputs.unflatten(0, (-1, num_frames))
    views = len(inputs)
    if view is None:
        crop = _MIDDLE_CROP.get(views // len(numbers), 0)
        view = crop * len(numbers) + len(numbers) // 2
    if not 0 <= view < views:
        raise ValueError(f'Expected a view from 0 to {views - 1}, of the test '
                         f'pipeline of {cfg.filename}, got {view}.')
    factor = -(-_PICTURE // min(inputs.shape[-2:]))
    pictures = _run(video, _enlarged(steps, factor))[0]['imgs']
    first = view * num_frames
    frames = [np.ascontiguousarray(picture, np.uint8) for picture in pictures]
    own = inputs[view] if packed['inputs'].ndim == 4 else inputs[view:view + 1]
    return Clip(frames[first:first + num_frames],
                numbers[view % len(numbers)].tolist(), own)


def read_pictures(video: str,
                  num_frames: int = 8,
                  interval: Optional[int] = None,
                  rows: int = 14) -> Tuple[Clip, Tuple[int, int]]:
    """Read frames from the middle of a video, to be cut into patches.

    Args:
        video (str): The video file.
        num_frames (int): Frames T. Defaults to 8.
        interval (int, optional): Distance of the frames in the video.
            Defaults to None, about a quarter of a second.
        rows (int): Patches on the short side. Defaults to 14.

    Returns:
        tuple[Clip, tuple[int, int]]: Pictures and their grid of square
        patches.

    Raises:
        FileNotFoundError, ValueError: If the file is missing or no video.
    """
    start = [dict(type='mmaction.DecordInit')]
    info = _run(video, start)[0]
    if interval is None:
        most = max(1, info['total_frames'] // num_frames)
        interval = min(most, max(1, round(info['avg_fps'] / 4)))
    side = -(-_PICTURE // rows)
    sample = dict(
        type='mmaction.SampleFrames',
        clip_len=num_frames,
        frame_interval=interval,
        num_clips=1,
        test_mode=True)
    resize = dict(type='mmaction.Resize', scale=(-1, side * rows))
    steps = [*start, sample, dict(type='mmaction.DecordDecode'), resize]
    results = _run(video, steps)[0]
    frames = results['imgs']
    grid = tuple(size // side for size in frames[0].shape[:2])
    frames = [
        _centre(frame, grid[0] * side, grid[1] * side) for frame in frames
    ]
    return Clip(frames, results['frame_inds'].tolist()), grid


def match_pixels(clip: Clip, grid: Tuple[int, int]) -> Block:
    """Match patches of the pictures themselves: what a model of random
    weights might see, for a look without one.

    Compared are the colours of 16x16 pixels a patch and, at half their
    weight, a code of the place, as the tokens of a ViT contain both.

    Args:
        clip (Clip): Pictures.
        grid (tuple[int, int]): Rows and columns of the patches.

    Returns:
        Block: With alignment and features, without a response.
    """
    rows, columns = grid
    size = columns * 16, rows * 16
    frames = np.stack([
        cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        for frame in clip.frames
    ])
    x = torch.from_numpy(frames).float() - 127.5
    x = x.unflatten(1, (rows, 16)).unflatten(3, (columns, 16))
    x = x.transpose(2, 3).flatten(3).flatten(1, 2)[None]  # (1, T, N, 768)
    place = sincos_embedding(grid, 64).view(1, 1, -1, 64)
    place = place / place.norm(dim=-1, keepdim=True)
    place = place * x.norm(dim=-1).mean() / 2
    x = torch.cat([x, place.expand(1, len(frames), -1, -1)], dim=-1)
    return Block(0, 'pixels', 'pixels', grid, None, align_frames(x, grid=grid),
                 x)


def _run(video: str, steps: list) -> Tuple[dict, Optional[dict]]:
    """Results of a pipeline before its frames are put together, and packed."""
    check_video_file(video)
    results = dict(filename=video, label=-1, start_index=0, modality='RGB')
    cut = _format_step(steps)
    try:
        results = Compose(steps[:cut])(results)
    except (RuntimeError, DECORDError) as error:
        raise undecodable(video) from error
    if 'SampleFrames' in step_names(steps):
        warn_if_short(results)
    packed = Compose(steps[cut:])(dict(results)) if cut < len(steps) else None
    return results, packed


def _format_step(steps: list) -> int:
    """The index of FormatShape, or the number of steps without one."""
    names = step_names(steps)
    return names.index('FormatShape') if 'FormatShape' in names else len(names)


def _enlarged(steps: list, factor: int) -> list:
    """A pipeline up to FormatShape with ``factor`` times its sizes."""
    steps = copy.deepcopy(steps[:_format_step(steps)])
    for step in steps:
        for key in {'scale', 'crop_size', 'size'} & set(step):
            step[key] = _times(step[key], factor)
        if 'interpolation' in step and factor > 1:
            step['interpolation'] = 'bicubic'
    return steps


def _times(size, factor: int):
    """Numbers of pixels, or several; -1, the other side's, as it is."""
    if isinstance(size, (list, tuple)):
        return tuple(_times(one, factor) for one in size)
    return size * factor if size > 0 else size


def _centre(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    top = (frame.shape[0] - height) // 2
    left = (frame.shape[1] - width) // 2
    return np.ascontiguousarray(frame[top:top + height, left:left + width])
