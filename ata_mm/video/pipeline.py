# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""How many clips of a video, and crops of a frame, a test pipeline takes."""
import re
from typing import Callable, List, Sequence, Tuple, Union

from mmaction.utils import get_str_type
from mmengine.config import Config
from mmengine.utils import is_seq_of, to_2tuple

CROPS = {1: 'CenterCrop', 3: 'ThreeCrop', 10: 'TenCrop'}


def parse_views(text: str) -> Tuple[int, int]:
    """Read a number of views as the field writes it, spatial times temporal.

    Args:
        text (str): '3x1' for three crops of one clip, '3x4' for three crops
            of each of four clips.

    Returns:
        tuple[int, int]: Crops of a frame, clips of a video.

    Raises:
        ValueError: If it is not that.
    """
    numbers = re.fullmatch(r'(\d+)[x×](\d+)', text)
    if numbers is None:
        raise ValueError(
            'expected views as CROPSxCLIPS, such as 3x1 for three '
            f'crops of one clip, got {text!r}')
    crops, clips = map(int, numbers.groups())
    return crops, clips


def set_views(cfg: Config, crops: int, clips: int) -> None:
    """Let the test pipeline of a config take other views.

    Args:
        cfg (Config): The config, changed in place: ``num_clips`` of the
            transform that samples frames, and the type of the crop.
        crops (int): 1 (CenterCrop), 3 (ThreeCrop) or 10 (TenCrop).
        clips (int): Clips of the video.

    Raises:
        ValueError: If the pipeline cannot take such views.
    """
    pipeline = cfg.test_dataloader.dataset.pipeline
    if crops not in CROPS or clips < 1:
        raise ValueError(
            f'expected 1, 3 or 10 crops of 1 clip or more, got {crops} crops '
            f'of {clips} clips (views are CROPSxCLIPS)')
    sample = _find(pipeline, lambda name: 'Sample' in name,
                   'a transform that samples frames, such as SampleFrames')
    if pipeline[sample].get('clip_len') == 1:
        raise ValueError(
            'the frames of this 2D recognizer are the num_clips of its '
            'SampleFrames, which views would change; set the test pipeline '
            'in the config instead')
    crop = _find(pipeline, lambda name: name in CROPS.values(),
                 'one of ' + ', '.join(CROPS.values()))
    if crops == 3:
        _check_short_side(pipeline[:crop], pipeline[crop].crop_size)
    pipeline[sample].num_clips = clips
    pipeline[crop].type = CROPS[crops]


def step_names(pipeline: List[dict]) -> List[str]:
    """The names of the transforms of a pipeline, without their scope."""
    return [get_str_type(step['type']).split('.')[-1] for step in pipeline]


def _find(pipeline: List[dict], is_meant: Callable[[str], bool],
          what: str) -> int:
    names = step_names(pipeline)
    for index, name in enumerate(names):
        if is_meant(name):
            return index
    raise ValueError(f'expected {what} in the test pipeline to set views, got '
                     f'{", ".join(names)}')


def _check_short_side(steps: List[dict],
                      crop_size: Union[int, Sequence[int]]) -> None:
    """ThreeCrop slides along the long side; the short one has to fit."""
    scales = [
        step.scale for step, name in zip(steps, step_names(steps))
        if name == 'Resize'
    ]
    if not scales or not is_seq_of(scales[-1], int) or -1 not in scales[-1]:
        return
    side = max(scales[-1])
    if side not in to_2tuple(crop_size):
        raise ValueError(
            f'three crops of {crop_size} pixels need a short side of as many, '
            f'but the test pipeline resizes it to {side}; set the scale of '
            f'its Resize to (-1, {crop_size})')
