# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Read frames of a video for display, with or without the input of a model."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from torch import Tensor

from ata_mm.ops.types import Grid

from .pipeline import FilePipeline, step_names
from .reading import open_video

_MIN_SIDE = 448  # least side of a displayed frame, in pixels

# Index of the middle crop by number of crops: ThreeCrop has it last; TenCrop
# has pairs of a crop and its mirror image, the middle one last.
_MIDDLE_CROP = {3: 2, 10: 8}


@dataclass(frozen=True)
class Clip:
    """Frames of a video for display.

    Args:
        frames (list[np.ndarray]): T frames (H, W, 3), uint8, RGB.
        numbers (list[int]): Indices of the frames in the video, from 0.
    """

    frames: list[np.ndarray]
    numbers: list[int]

    @property
    def labels(self) -> list[str]:
        """Titles of the frames, such as ``'frame 8'``."""
        return [f'frame {number}' for number in self.numbers]


@dataclass(frozen=True)
class View(Clip):
    """One view of a video, as displayed frames and as input of a model.

    Args:
        frames (list[np.ndarray]): T frames (H, W, 3), uint8, RGB.
        numbers (list[int]): Indices of the frames in the video, from 0.
        inputs (Tensor): The same crop of the same frames as a model takes it,
            uint8: (1, 3, T, h, w) of a Recognizer3D, (T, 3, h, w) of a
            Recognizer2D.
    """

    inputs: Tensor


def read_view(video: str, cfg: Config, view: int | None = None) -> View:
    """Read one view of a video with the test pipeline of a config.

    The displayed frames come from the same pipeline with a multiple of its
    sizes. They show the input of a small model at a readable size, accurate
    to about one pixel of the input.

    Args:
        video (str): The video file.
        cfg (Config): A config of MMAction2.
        view (int, optional): Index of the view; the clips of the first crop
            come first. Defaults to None, the clip in the middle of the video
            and the crop in the middle of the frame.

    Returns:
        View: The displayed frames and the input of the model.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a video, or the view does not exist.
    """
    steps = cfg.test_dataloader.dataset.pipeline
    end = _format_step(steps)
    results = _decode(video, steps[:end])
    packed = Compose(steps[end:])(dict(results))['inputs']
    num_frames = results['clip_len']
    numbers = results['frame_inds'].reshape(-1, num_frames)
    inputs = packed
    if packed.ndim == 4:  # frames of a Recognizer2D
        num_frames = _num_segments(cfg, results['frame_inds'].size)
        numbers = numbers.reshape(-1, num_frames)
        inputs = packed.unflatten(0, (-1, num_frames))
    num_views = len(inputs)
    if view is None:
        crop = _MIDDLE_CROP.get(num_views // len(numbers), 0)
        view = crop * len(numbers) + len(numbers) // 2
    if not 0 <= view < num_views:
        raise ValueError(
            f'Expected a view from 0 to {num_views - 1}, of the '
            f'test pipeline of {cfg.filename}, got {view}.'
        )
    factor = -(-_MIN_SIDE // min(inputs.shape[-2:]))
    enlarged = _decode(video, _enlarged(steps[:end], factor))['imgs']
    first = view * num_frames
    frames = [
        np.ascontiguousarray(frame, np.uint8)
        for frame in enlarged[first : first + num_frames]
    ]
    own = inputs[view] if packed.ndim == 4 else inputs[view : view + 1]
    return View(frames, numbers[view % len(numbers)].tolist(), own)


def _num_segments(cfg: Config, num_frames: int) -> int:
    """Return the frames of a clip, of those of a crop, in a Recognizer2D."""
    neck = cfg.model.get('neck') or {}
    segments = neck.get('num_segments', num_frames)  # of ATANeck
    return segments if num_frames % segments == 0 else num_frames


def read_clip(
    video: str,
    num_frames: int = 8,
    interval: int | None = None,
    rows: int = 14,
) -> tuple[Clip, Grid]:
    """Read frames from the middle of a video, cropped to square patches.

    Args:
        video (str): The video file.
        num_frames (int): Number of frames T. Defaults to 8.
        interval (int, optional): Distance of neighbouring frames in the video.
            Defaults to None, about a quarter of a second.
        rows (int): Patches along the short side. Defaults to 14.

    Returns:
        tuple[Clip, tuple[int, int]]: The frames, and rows and columns of their
        patches.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a video.
    """
    with open_video(video) as reader:
        number = len(reader)
        if interval is None:
            longest = max(1, number // num_frames)
            interval = min(longest, max(1, round(reader.fps / 4)))
        span = (num_frames - 1) * interval + 1
        first = max(number - span, 0) // 2
        # A short video is repeated, as by SampleFrames.
        indices = (first + interval * np.arange(num_frames)) % number
        frames = reader.frames(indices)
    side = -(-_MIN_SIDE // rows)
    resize = dict(type='mmaction.Resize', scale=(-1, side * rows))
    results = Compose([resize])(
        dict(imgs=frames, img_shape=frames[0].shape[:2], modality='RGB')
    )
    height, width = results['imgs'][0].shape[:2]
    grid = height // side, width // side
    frames = [
        _centre(frame, grid[0] * side, grid[1] * side)
        for frame in results['imgs']
    ]
    return Clip(frames, indices.tolist()), grid


def patchify(frames: Tensor, side: int) -> Tensor:
    """Cut frames into square patches, flattened to vectors.

    Args:
        frames (Tensor): (..., H, W, C).
        side (int): Side of a patch in pixels, a divisor of H and W.

    Returns:
        Tensor: (..., N, side * side * C), with N = H * W / side².

    Raises:
        ValueError: If the side does not divide H and W.
    """
    height, width = frames.shape[-3:-1]
    if height % side or width % side:
        raise ValueError(
            'Expected a side of patches that divides the height '
            f'and width of the frames, {height} x {width}, got '
            f'{side}.'
        )
    patches = frames.unflatten(-2, (-1, side))  # (..., H, columns, side, C)
    patches = patches.unflatten(-4, (-1, side)).transpose(-3, -4)
    return patches.flatten(-3).flatten(-3, -2)


def _decode(video: str, steps: Sequence[dict]) -> dict:
    """Run the steps of a pipeline up to FormatShape on a video file."""
    results = dict(filename=video, label=-1, start_index=0, modality='RGB')
    decoded = FilePipeline(steps)(results)
    assert decoded is not None  # no transform of a test drops a sample
    return decoded


def _format_step(steps: Sequence[dict]) -> int:
    """Return the index of FormatShape, or the number of steps without it."""
    names = step_names(steps)
    return names.index('FormatShape') if 'FormatShape' in names else len(names)


def _enlarged(steps: Sequence[dict], factor: int) -> list[dict]:
    """Return a copy of pipeline steps with their sizes times ``factor``."""
    enlarged = copy.deepcopy(list(steps))
    for step in enlarged:
        for key in {'scale', 'crop_size', 'size'} & set(step):
            step[key] = _times(step[key], factor)
        if 'interpolation' in step and factor > 1:
            step['interpolation'] = 'bicubic'
    return enlarged


def _times(size, factor: int):
    """Multiply a size in pixels, or each of several.

    -1, a side that follows from the other one, is kept.
    """
    if isinstance(size, (list, tuple)):
        return tuple(_times(one, factor) for one in size)
    return size * factor if size > 0 else size


def _centre(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Crop the centre of a frame."""
    top = (frame.shape[0] - height) // 2
    left = (frame.shape[1] - width) // 2
    return np.ascontiguousarray(frame[top : top + height, left : left + width])
