# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Time temporal modules against each other in whole backbones.

``python tools/benchmark_model.py [VIDEO]`` runs ViT-B/16 on 8 frames of 224 x
224 pixels with each temporal module in turn, round after round in one process,
and prints medians, and the medians of the ratios within each round, as a
Markdown table. ``--model convnext --arch tiny`` and ``--model cyclemlp --arch
b1`` time the other backbones of the paper. All models have equal weights where
they share them. ``--temporal`` chooses the rows, and their order: ratios are
to the first one.

- mmaction2: MMAction2's TimeSformer (vit);
- averaging: TemporalAveraging (convnext, cyclemlp);
- attention: TemporalAttention;
- ata: ATA, with CoarseToFineMatcher in convnext and cyclemlp;
- ata-stage: ATA with share_alignment='stage';
- ata-blocks3-5: ATA in three blocks, TemporalAttention in the others, as in
  Table 5 (vit);
- ata-refined: ATA with the options of configs/ata_vit_k400_refined.py (vit).

*Matching* is the time within the aligners, which includes the composition of
routes, and its share of the row's own time. What ATA costs in all, with the
reordering of the patches, is the difference from temporal attention.

*Memory*, on a GPU, is what a step needs at once beyond models and input. A
product of large matrices is timed in the same rounds. The last column of a
forward pass is the rate of the model's products (two operations per
multiply-accumulate, without the matching) as a share of the rate of this one.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

from ata_mm.cli.arguments import add_timing_options, positive

# Options of ATATimeSformer by the name of the row.
VIT: dict[str, dict[str, Any]] = {
    'attention': dict(temporal=dict(type='TemporalAttention')),
    'ata': dict(temporal=dict(type='ATA')),
    'ata-stage': dict(temporal=dict(type='ATA', share_alignment='stage')),
    'ata-blocks3-5': dict(
        temporal=dict(type='ATA'), temporal_blocks=[3, 4, 5]
    ),
    'ata-refined': dict(
        temporal=dict(type='ATA', support_radius=1, route_heads=8)
    ),
}
# Temporal modules of ConvNeXt and CycleMLP. Zero-initialised, they would not
# change the features that later blocks match.
IMAGE: dict[str, dict[str, Any]] = {
    'averaging': dict(type='TemporalAveraging'),
    'attention': dict(type='TemporalAttention', zero_init=False),
    'ata': dict(
        type='ATA', zero_init=False, matcher=dict(type='CoarseToFineMatcher')
    ),
    'ata-stage': dict(
        type='ATA',
        zero_init=False,
        matcher=dict(type='CoarseToFineMatcher'),
        share_alignment='stage',
    ),
}
CLASSES = dict(convnext='ATAConvNeXt', cyclemlp='ATACycleMLP')


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Time temporal modules against each other'
    )
    parser.add_argument('video', nargs='?', help='default: a rendered one')
    parser.add_argument(
        '--model',
        choices=['vit', *CLASSES],
        default='vit',
        help='backbone (vit)',
    )
    parser.add_argument(
        '--arch', help='size of convnext (base) or cyclemlp (b5)'
    )
    parser.add_argument(
        '--temporal',
        nargs='+',
        metavar='NAME',
        help='rows of the table, the unit of the ratios first (all): '
        f'mmaction2 {" ".join(VIT)} of vit, {" ".join(IMAGE)} of the others',
    )
    parser.add_argument('--batch', type=positive, default=1, help='clips (1)')
    parser.add_argument(
        '--num-frames', type=positive, default=8, help='frames of a clip (8)'
    )
    parser.add_argument(
        '--interval',
        type=positive,
        default=32,
        help='distance of neighbouring frames of a clip in the video (32)',
    )
    parser.add_argument(
        '--train',
        action='store_true',
        help='time forward and backward instead of the forward pass alone',
    )
    parser.add_argument(
        '--amp', action='store_true', help='autocast to bfloat16'
    )
    add_timing_options(parser, rounds=11)
    parser.add_argument(
        '--device',
        choices=['cpu', 'cuda'],
        help='(cuda if available)',
    )
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import torch
from benchmark_matching import read_clips
from mmaction.models import TimeSformer
from mmaction.registry import MODELS
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from ata_mm.apis.config import use_device
from ata_mm.checkpoints import load_pretrained
from ata_mm.cli.console import hide_log, round_progress
from ata_mm.cli.errors import user_errors
from ata_mm.cli.timing import ModuleTimer, paired_times, ratio_table
from ata_mm.introspection.complexity import count_complexity
from ata_mm.models import ATA, ATATimeSformer


def vit_models(names: Sequence[str], num_frames: int) -> dict[str, nn.Module]:
    """Return ViT-B/16 models of equal weights by name."""
    peer = TimeSformer(num_frames=num_frames, img_size=224, patch_size=16)
    peer.init_weights()
    for layer in peer.transformer_layers.layers:
        # Zero-initialised, the branch would not change the features that
        # later blocks match.
        nn.init.xavier_uniform_(layer.attentions[0].temporal_fc.weight)
    models: dict[str, nn.Module] = {}
    for name in names:
        if name == 'mmaction2':
            models[name] = peer
        else:
            models[name] = ATATimeSformer(num_frames, **VIT[name])
            load_pretrained(models[name], peer.state_dict())
    return models


def image_models(
    kind: str, arch: str | None, names: Sequence[str], num_frames: int
) -> dict[str, nn.Module]:
    """Return image backbones of equal weights with temporal modules."""
    options = {'arch': arch} if arch else {}
    models: dict[str, nn.Module] = {}
    weights: dict[str, Tensor] = {}
    for name in names:
        model = MODELS.build(
            dict(
                type=kind,
                num_frames=num_frames,
                temporal=IMAGE[name],
                **options,
            )
        )
        own = model.state_dict()
        own.update({key: weights[key] for key in own.keys() & weights.keys()})
        model.load_state_dict(own)
        weights = {**weights, **own}
        models[name] = model
    return models


def build_models(
    model: str,
    arch: str | None,
    names: Sequence[str] | None,
    num_frames: int,
) -> dict[str, nn.Module]:
    """Return the models to time by name, the unit of the ratios first.

    Raises:
        ValueError: If the backbone has no model of a name.
    """
    known = ['mmaction2', *VIT] if model == 'vit' else [*IMAGE]
    names = names or known
    if not set(names) <= set(known):
        raise ValueError(
            f'Expected --temporal with names from {" ".join(known)} for '
            f'--model {model}, got {" ".join(names)}.'
        )
    init_default_scope('mmaction')
    hide_log()
    if model == 'vit':
        return vit_models(names, num_frames)
    return image_models(CLASSES[model], arch, names, num_frames)


class Step:
    """A forward pass of a model, and in training the backward pass.

    Args:
        model (nn.Module): The model, moved to the device of x.
        x (Tensor): Clips (B, 3, T, H, W).
        train (bool): Whether to train.
        amp (bool): Autocast to bfloat16.

    Attributes:
        matching (list[float]): Seconds of the matching in each round.
        memory (int): Bytes that the last call needed at once, on a GPU.
    """

    def __init__(
        self, model: nn.Module, x: Tensor, train: bool, amp: bool
    ) -> None:
        self.model = model.to(x.device).train(train)
        self.x = x
        self.train = train
        self.autocast = partial(
            torch.autocast, x.device.type, torch.bfloat16, enabled=amp
        )
        self.matching: list[float] = []
        self.memory = 0
        aligners = [m.aligner for m in model.modules() if isinstance(m, ATA)]
        self._timer = ModuleTimer(aligners, x.device)

    def __call__(self) -> None:
        """Run the step."""
        self._timer.take()  # keep this call's time alone
        self.model.zero_grad()
        if self.x.is_cuda:
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        with torch.set_grad_enabled(self.train), self.autocast():
            y = self.model(self.x)
        if self.train:
            y.float().square().sum().backward()
        if self.x.is_cuda:
            self.memory = torch.cuda.max_memory_allocated() - before

    def end_round(self) -> None:
        """Note the time of the matching in the last call."""
        self.matching.append(self._timer.take())


def product(size: int, x: Tensor, amp: bool) -> Callable[[], Tensor]:
    """Return a product of square matrices in the dtype of the models."""
    dtype = torch.bfloat16 if amp else x.dtype
    matrix = torch.randn(size, size, device=x.device).to(dtype)
    return partial(torch.mm, matrix, matrix)


def peak_shares(
    models: Mapping[str, nn.Module],
    x: Tensor,
    size: int,
    times: dict[str, list[float]],
    peak: list[float],
) -> dict[str, str]:
    """Compute the rates of products as shares of that of large matrices.

    Args:
        models (dict[str, nn.Module]): The models by name.
        x (Tensor): Their input, B clips.
        size (int): Rows and columns of the large matrices.
        times (dict[str, list[float]]): Seconds of the models in each round.
        peak (list[float]): Seconds of the large product in each round.

    Returns:
        dict[str, str]: Percentage of each model by name.
    """
    shares = {}
    for name, model in models.items():
        macs = (
            len(x)
            * count_complexity(model, (1, *x.shape[1:]), stage=None).macs
        )
        ratio = median(a / b for a, b in zip(peak, times[name]))
        shares[name] = f'{ratio * macs / size**3:.0%}'
    return shares


def step_columns(
    steps: Mapping[str, Step], times: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, str]]:
    """Return the columns of the matching, and of the memory on a GPU."""
    columns: dict[str, dict[str, str]] = {'matching, ms': {}, 'of the row': {}}
    for name, step in steps.items():
        columns['matching, ms'][name] = f'{1e3 * median(step.matching):.1f}'
        share = median(a / b for a, b in zip(step.matching, times[name]))
        columns['of the row'][name] = f'{share:.1%}'
        if step.x.is_cuda:
            memory = columns.setdefault('memory, GB', {})
            memory[name] = f'{1e-9 * step.memory:.1f}'
    return columns


def main() -> None:
    """Print the table."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with user_errors():
        device = use_device(args.device or get_device())
        models = build_models(
            args.model, args.arch, args.temporal, args.num_frames
        )
        clips = read_clips(
            args.video, args.batch, args.interval, args.num_frames
        )
    x = clips.permute(0, 4, 1, 2, 3).contiguous().to(device)
    size = 8192 if x.is_cuda else 2048
    steps = {
        name: Step(model, x, args.train, args.amp)
        for name, model in models.items()
    }
    functions: dict[str, Callable[[], object]] = {
        **steps,
        'product': product(size, x, args.amp),
    }
    with round_progress(args.rounds) as advance:

        def after_round() -> None:
            for step in steps.values():
                step.end_round()
            advance()

        times = paired_times(functions, args.rounds, after_round)
    peak = times.pop('product')
    passes = 'forward and backward' if args.train else 'forward'
    dtype = 'bf16 autocast' if args.amp else 'fp32'
    name = torch.cuda.get_device_name() if x.is_cuda else 'cpu'
    print(
        f'{passes}, clips {tuple(x.shape)}, {dtype} on {name}, '
        f'{torch.get_num_threads()} threads, {args.rounds} rounds'
    )
    print(
        f'a product of {size}x{size} matrices: '
        f'{2e-9 * size**3 / median(peak):.0f} GFLOP/s\n'
    )
    columns = step_columns(steps, times)
    if not args.train:
        columns['of that rate'] = peak_shares(models, x, size, times, peak)
    print(ratio_table(times, columns))


if __name__ == '__main__':
    main()
