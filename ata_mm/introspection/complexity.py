# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Parameters and multiply-accumulates of a recognizer."""

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from mmengine.config import Config
from mmengine.utils import to_2tuple
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ata_mm.video.pipeline import sampling_index, step_names

from .listener import AlignmentEvent, Listener


@dataclass
class Complexity:
    """Cost of one view.

    Args:
        parameters (int): Number of all parameters, frozen ones too.
        macs (int): Multiply-accumulates of convolutions, linear layers and
            attention products, without the matching.
        matchings (Counter): Number of matched frame pairs, by patches a frame,
            N.
        similarity_macs (int): Multiply-accumulates of their N x N
            similarities; matchers for large maps compute only some of them.
    """

    parameters: int
    macs: int
    matchings: Counter = field(default_factory=Counter)
    similarity_macs: int = 0


def count_complexity(
    model: nn.Module,
    shape: Sequence[int],
    without: Sequence[str] = (),
    stage: str | None = 'head',
) -> Complexity:
    """Count parameters and operations on the meta device.

    There shapes are computed and values are not, and nothing is matched. The
    weights are copied once, before the copy moves there. All parameters are
    counted, frozen ones too.

    Args:
        model (nn.Module): A recognizer; not changed.
        shape (Sequence[int]): Shape of its input: (1, 1, 3, T, H, W) for a
            Recognizer3D, (1, T, 3, H, W) for a Recognizer2D.
        without (Sequence[str]): Class names of modules whose
            multiply-accumulates are left out. Defaults to none.
        stage (str, optional): Last stage of a recognizer to run. Defaults to
            'head'. None for a backbone by itself, with input (1, 3, T, H, W).

    Returns:
        Complexity: That of backbone, neck and head.
    """
    # Without gradients, since the counter would register hooks for them.
    model = copy.deepcopy(model).to('meta').eval().requires_grad_(False)
    pairs = _MatchingCounter()
    # Imported late, since it imports triton.
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    options = {} if stage is None else dict(stage=stage)
    # The counter knows plain matrix products, but not every fused kernel.
    with pairs.attach(model), counter, sdpa_kernel(SDPBackend.MATH):
        model(torch.empty(shape, device='meta'), **options)
    counts = {
        name.partition('.')[2]: sum(flops.values())
        for name, flops in counter.get_flop_counts().items()
    }
    # The names of the model itself and of the counter's total have no dot.
    left_out = sum(counts.get(name, 0) for name in _of_types(model, without))
    return Complexity(
        sum(p.numel() for p in model.parameters()),
        (counter.get_total_flops() - left_out) // 2,
        pairs.matchings,
        pairs.similarity_macs,
    )


class _MatchingCounter(Listener):
    """Listener that counts the frame pairs to be matched."""

    def __init__(self) -> None:
        super().__init__()
        self.matchings: Counter = Counter()
        self.similarity_macs = 0

    def on_alignment(self, event: AlignmentEvent) -> None:
        """Add the frame pairs of an alignment, unless it is reused."""
        if event.computed:
            batch, frames, num, channels = event.features.shape
            pairs = batch * (frames - 1)
            self.matchings[num] += pairs
            self.similarity_macs += pairs * num**2 * channels


def _of_types(model: nn.Module, types: Sequence[str]) -> list[str]:
    """Return the names of the outermost modules of some classes."""
    found: list[str] = []
    for name, module in model.named_modules():
        within = any(name.startswith(f'{outer}.') for outer in found)
        if type(module).__name__ in types and not within:
            found.append(name)
    return found


def view_shape(
    cfg: Config, view: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Return the input shape of one view of a config's recognizer.

    Args:
        cfg (Config): A config of MMAction2.
        view (Sequence[int], optional): Frames, height and width. Defaults to
            None, those of the test pipeline.

    Returns:
        tuple[int, ...]: (1, 1, 3, T, H, W), or (1, T, 3, H, W) if the model
        takes frames as images.

    Raises:
        ValueError: If the test pipeline formats other inputs than frames; or
            if ``view`` is missing, and it does not sample and crop them.
    """
    _check_format(cfg)
    images = (
        cfg.model.get('data_preprocessor', {}).get('format_shape', 'NCHW')
        == 'NCHW'
    )
    frames, height, width = view or _view_of_pipeline(cfg, images)
    if images:
        return (1, frames, 3, height, width)
    return (1, 1, 3, frames, height, width)


def _check_format(cfg: Config) -> None:
    """Raise for the recognizers of skeletons, heat maps, flow and audio."""
    loader = cfg.get('test_dataloader') or {}
    steps = loader.get('dataset', {}).get('pipeline', [])
    formats = {
        step.get('input_format')
        for name, step in zip(step_names(steps), steps)
        if name.startswith('Format')
    }
    if formats and not formats & {'NCHW', 'NCTHW'}:
        raise ValueError(
            'Expected a recognizer of RGB frames, with FormatShape of NCHW or '
            f'NCTHW in its test pipeline, got {", ".join(step_names(steps))}.'
        )


def _view_of_pipeline(cfg: Config, images: bool) -> tuple[int, int, int]:
    loader = cfg.get('test_dataloader') or {}
    steps = loader.get('dataset', {}).get('pipeline', [])
    names = step_names(steps)
    sample = sampling_index(steps)
    sizes = list(filter(None, map(_output_size, names, steps)))
    if sample is None or not sizes:
        raise ValueError(
            'Expected a test_dataloader whose pipeline samples frames '
            '(clip_len=...) and crops them, or resizes them with '
            'keep_ratio=False, which gives the size of a view, '
            f'got {", ".join(names)}. Set the size with --shape T H W.'
        )
    frames = steps[sample].get('clip_len', 1)
    if images:
        frames *= steps[sample].get('num_clips', 1)
    width, height = to_2tuple(sizes[-1])
    return frames, height, width


def _output_size(name: str, step: dict) -> int | Sequence[int] | None:
    """Return the size of the frames after a transform, if it sets one."""
    if 'Crop' in name:
        return step.get('crop_size', step.get('size'))
    if name == 'Resize' and not step.get('keep_ratio', True):
        return step['scale']
    return None
