# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Parameters and multiply-accumulates of a recognizer, without running it."""
import copy
from collections import Counter
from dataclasses import dataclass, field
from typing import List, Optional, Sequence, Tuple

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ata_mm.models import ATA


@dataclass
class Complexity:
    """What one view costs.

    Args:
        parameters (int): Numbers that are learned.
        macs (int): Multiply-accumulates of convolutions, linear layers and
            attention products; the matching is not among them.
        matchings (Counter): Pairs of frames matched, by patches a frame, N.
        similarity_macs (int): Multiply-accumulates of their N x N
            similarities; matchers of large maps need but a part of them.
    """
    parameters: int
    macs: int
    matchings: Counter = field(default_factory=Counter)
    similarity_macs: int = 0


def count_complexity(model: nn.Module,
                     shape: Sequence[int],
                     without: Sequence[str] = (),
                     stage: Optional[str] = 'head') -> Complexity:
    """Count on the meta device, where shapes are computed and numbers not.

    Args:
        model (nn.Module): A recognizer; not changed.
        shape (Sequence[int]): Its input: (1, 1, 3, T, H, W) of a
            Recognizer3D, (1, T, 3, H, W) of a Recognizer2D.
        without (Sequence[str]): Types of modules whose multiply-accumulates
            are left out. Defaults to none.
        stage (str, optional): How far a recognizer runs. Defaults to 'head';
            None for a backbone by itself, which takes (1, 3, T, H, W).

    Returns:
        Complexity: Of the backbone, neck and head.
    """
    # Without gradients, whose hooks the counter would want to set.
    model = copy.deepcopy(model).to('meta').eval().requires_grad_(False)
    result = Complexity(sum(p.numel() for p in model.parameters()), 0)
    for module in model.modules():
        if isinstance(module, ATA):
            module.alignment = _Survey(result)
    counter = FlopCounterMode(display=False)
    # The counter knows the plain products, not every fused kernel.
    options = {} if stage is None else dict(stage=stage)
    with counter, sdpa_kernel(SDPBackend.MATH):
        model(torch.empty(shape, device='meta'), **options)
    counts = {
        name.partition('.')[2]: sum(flops.values())
        for name, flops in counter.get_flop_counts().items()
    }
    # The names of the model itself and of the counter's total have no dot.
    left_out = sum(counts.get(name, 0) for name in _of_types(model, without))
    result.macs = (counter.get_total_flops() - left_out) // 2
    return result


def _of_types(model: nn.Module, types: Sequence[str]) -> List[str]:
    """Names of the modules of some types, but not of those within them."""
    found: List[str] = []
    for name, module in model.named_modules():
        within = any(name.startswith(f'{outer}.') for outer in found)
        if type(module).__name__ in types and not within:
            found.append(name)
    return found


def view_shape(cfg: Config,
               view: Optional[Sequence[int]] = None) -> Tuple[int, ...]:
    """The input shape of one view of a config's recognizer.

    Args:
        cfg (Config): A config of MMAction2.
        view (Sequence[int], optional): Frames, height and width. Defaults to
            None: what the test pipeline delivers.

    Returns:
        tuple[int, ...]: (1, 1, 3, T, H, W), or (1, T, 3, H, W) where the
        model takes frames as images.

    Raises:
        ValueError: If the test pipeline does not tell.
    """
    images = cfg.model.get('data_preprocessor',
                           {}).get('format_shape', 'NCHW') == 'NCHW'
    frames, height, width = view or _view_of_pipeline(cfg, images)
    if images:
        return (1, frames, 3, height, width)
    return (1, 1, 3, frames, height, width)


def _view_of_pipeline(cfg: Config, images: bool) -> Tuple[int, int, int]:
    loader = cfg.get('test_dataloader') or {}
    steps = loader.get('dataset', {}).get('pipeline', [])
    sample = [step for step in steps if 'clip_len' in step]
    crop = [step for step in steps if 'Crop' in str(step.get('type'))]
    if not sample or not crop:
        raise ValueError(
            'Expected a test_dataloader whose pipeline samples frames '
            '(clip_len=...) and crops them, to tell the size of a view from. '
            'Give it as --shape T H W.')
    frames = sample[0].clip_len
    if images:
        frames *= sample[0].get('num_clips', 1)
    size = crop[-1].get('crop_size', crop[-1].get('size'))
    width, height = (size, size) if isinstance(size, int) else size
    return frames, height, width


class _Survey:
    """Takes the place of ``ATA.alignment``: notes the problem, moves nothing.

    The meta device has no similarities to match.
    """

    def __init__(self, result: Complexity) -> None:
        self.result = result

    def __call__(self, x: Tensor, *args) -> '_Survey':
        batch, frames, num, channels = x.shape
        pairs = batch * (frames - 1)
        self.result.matchings[num] += pairs
        self.result.similarity_macs += pairs * num**2 * channels
        return self

    def align(self, x: Tensor) -> Tensor:
        return x

    dealign = align
