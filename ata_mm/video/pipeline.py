# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Run the transforms of a pipeline on a file, and set its views.

A view is a crop of a clip: a test pipeline takes one or more clips of a video
and one or more crops of each frame, and scores are averaged over all views.
"""

import os.path as osp
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from math import prod
from typing import Any

from mmaction.utils import get_str_type
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.utils import is_seq_of, to_2tuple

from .reading import decoding

CROPS = {1: 'CenterCrop', 3: 'ThreeCrop', 10: 'TenCrop'}


# Transforms of MMAction2 that read something else than a video file.
NOT_VIDEO = {
    'ArrayDecode',
    'LoadAudioFeature',
    'PoseDecode',
    'RawFrameDecode',
}


def parse_views(text: str) -> tuple[int, int]:
    """Parse a number of views in the usual notation, spatial x temporal.

    Args:
        text (str): '3x1' for three crops of one clip, '3x4' for three crops
            of each of four clips.

    Returns:
        tuple[int, int]: Crops of a frame, clips of a video.

    Raises:
        ValueError: If the text has another form.
    """
    numbers = re.fullmatch(r'(\d+)[x×](\d+)', text)
    if numbers is None:
        raise ValueError(
            'Expected views as CROPSxCLIPS, such as 3x1 for three '
            f'crops of one clip, got {text!r}.'
        )
    crops, clips = map(int, numbers.groups())
    return crops, clips


def set_views(cfg: Config, crops: int, clips: int) -> None:
    """Set the views of the test pipeline of a config.

    Args:
        cfg (Config): The config, changed in place: ``num_clips`` of the
            transform that samples frames, and the type of the crop.
        crops (int): 1 (CenterCrop), 3 (ThreeCrop) or 10 (TenCrop).
        clips (int): Clips of the video, at least 1.

    Raises:
        ValueError: If the pipeline does not support these views.
    """
    pipeline = cfg.test_dataloader.dataset.pipeline
    if crops not in CROPS or clips < 1:
        raise ValueError(
            f'Expected 1, 3 or 10 crops of 1 clip or more, got {crops} crops '
            f'of {clips} clips. Views are written as CROPSxCLIPS.'
        )
    sample = sampling_index(pipeline)
    if sample is None:
        raise _missing(
            'a transform that samples frames, such as SampleFrames', pipeline
        )
    if pipeline[sample].get('clip_len') == 1:
        raise ValueError(
            'Expected a clip of several frames, but the frames of this 2D '
            'recognizer are the num_clips of its SampleFrames. Change the '
            'test pipeline in the config instead of the views.'
        )
    crop = _first(pipeline, lambda name: name in CROPS.values())
    if crop is None:
        raise _missing('one of ' + ', '.join(CROPS.values()), pipeline)
    if crops == 3:
        _check_short_side(pipeline[:crop], pipeline[crop].crop_size)
    pipeline[sample].num_clips = clips
    pipeline[crop].type = CROPS[crops]


def count_views(cfg: Config) -> int:
    """Return the number of views of a video in the test pipeline of a config.

    Args:
        cfg (Config): The config.

    Returns:
        int: Crops x clips. Transforms of other names count as one crop, and
        the frames of a 2D recognizer as one clip.
    """
    pipeline = cfg.test_dataloader.dataset.pipeline
    views = count_crops(pipeline)
    sample = sampling_index(pipeline)
    if sample is not None and pipeline[sample].get('clip_len') != 1:
        views *= pipeline[sample].get('num_clips', 1)
    return views


def count_crops(pipeline: Sequence[dict]) -> int:
    """Return the number of crops of a frame in a pipeline."""
    crops = {name: number for number, name in CROPS.items()}
    return prod(crops.get(name, 1) for name in step_names(pipeline))


def step_names(pipeline: Sequence[dict]) -> list[str]:
    """Return the names of the transforms of a pipeline, without scope."""
    return [type_name(step['type']) for step in pipeline]


def sampling_index(pipeline: Sequence[dict]) -> int | None:
    """Return the index of the transform that samples frames, if any.

    The names of those of MMAction2 contain 'Sample', such as SampleFrames.
    """
    return _first(pipeline, lambda name: 'Sample' in name)


def decoding_index(pipeline: Sequence[dict]) -> int | None:
    """Return the index of the transform that decodes frames, if any.

    The names of those of MMAction2 contain 'Decode', such as DecordDecode.
    """
    return _first(pipeline, lambda name: 'Decode' in name)


def type_name(type_: Any) -> str:
    """Return the name of a type in a config, without scope.

    Args:
        type_ (str | type): Such as ``'mmaction.VideoDataset'``.
    """
    return get_str_type(type_).split('.')[-1]


class FilePipeline:
    """Pipeline of one file: errors while it is read name it.

    Warns of videos shorter than a clip, whose frames ``SampleFrames``
    repeats.

    Args:
        transforms (Sequence[dict | Callable]): The transforms. Those up to
            the last one that decodes read the file.
        on_short (Callable, optional): Called with the file and a reason
            instead of a warning. Defaults to None.
    """

    def __init__(
        self,
        transforms: Sequence[dict | Callable],
        on_short: Callable[[str, str], object] | None = None,
    ) -> None:
        self.transforms = Compose(transforms).transforms
        self._on_short = on_short or _warn_short
        names = [type(step).__name__ for step in self.transforms]
        decodes = [
            i
            for i, name in enumerate(names)
            if 'Decode' in name and name not in NOT_VIDEO
        ]
        self._end = decodes[-1] + 1 if decodes else 0

    def __call__(self, data: dict) -> dict | None:
        """Run the transforms.

        Args:
            data (dict): With ``filename``, the video file; results without it
                are of other samples, such as folders of frames.

        Returns:
            dict | None: The results; None if a transform returns it.

        Raises:
            FileNotFoundError, VideoError: If the file cannot be read.
        """
        name = data.get('filename', '://')  # not a local file
        is_read = self._end > 0 and '://' not in name
        with decoding(with_suffix(name)) if is_read else nullcontext():
            results = self._run(self.transforms[: self._end], data)
        return self._run(self.transforms[self._end :], results)

    def _run(
        self, transforms: Sequence[Callable], results: dict | None
    ) -> dict | None:
        for transform in transforms:
            if results is None:
                return None
            results = transform(results)
            if results and type(transform).__name__ == 'SampleFrames':
                self._check_length(results)
        return results

    def _check_length(self, results: dict) -> None:
        frames, clip = results['total_frames'], results['clip_len']
        interval = results['frame_interval']
        needed = (clip - 1) * interval + 1
        if frames < needed and 'filename' in results:
            self._on_short(
                results['filename'],
                f'has {frames} frames, fewer than the {needed} of a clip '
                f'(clip_len={clip}, frame_interval={interval}); SampleFrames '
                'repeats some',
            )


def with_suffix(video: str, is_local: bool = True) -> str:
    """Return a file name with '.mp4' if only that exists.

    MMAction2 appends '.mp4' to names without a suffix.

    Args:
        video (str): The name.
        is_local (bool): Whether it can be tested here that a file exists;
            '.mp4' is appended if not. Defaults to True.

    Returns:
        str: The name of the file to read.
    """
    if osp.splitext(video)[1] or osp.exists(video):
        return video
    longer = f'{video}.mp4'
    return longer if osp.exists(longer) or not is_local else video


def _warn_short(video: str, reason: str) -> None:
    warnings.warn(f'{video} {reason}', stacklevel=4)


def _first(
    pipeline: Sequence[dict], matches: Callable[[str], bool]
) -> int | None:
    """Return the index of the first transform whose name matches."""
    names = step_names(pipeline)
    return next((i for i, name in enumerate(names) if matches(name)), None)


def _missing(expected: str, pipeline: Sequence[dict]) -> ValueError:
    return ValueError(
        f'Expected {expected} in the test pipeline to set views, '
        f'got {", ".join(step_names(pipeline))}.'
    )


def _check_short_side(
    steps: Sequence[dict], crop_size: int | Sequence[int]
) -> None:
    """Raise if ThreeCrop does not fit the short side of the resized frames.

    ThreeCrop slides along the long side and takes the whole short side.
    """
    scales = [
        step['scale']
        for step, name in zip(steps, step_names(steps))
        if name == 'Resize'
    ]
    if not scales or not is_seq_of(scales[-1], int) or -1 not in scales[-1]:
        return
    side = max(scales[-1])
    if side not in to_2tuple(crop_size):
        raise ValueError(
            f'Expected a short side of as many pixels as the three crops, '
            f'{crop_size}, but the test pipeline resizes it to {side}. Set '
            f'the scale of its Resize to (-1, {crop_size}).'
        )
