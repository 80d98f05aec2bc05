# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Time temporal modules against each other in whole backbones.

``python tools/benchmark_model.py [VIDEO]`` runs ViT-B/16 on 8 frames of 224 x
224 pixels with each temporal module in turn, MMAction2's TimeSformer first,
round after round in one process, and prints medians, and the medians of the
ratios within each round, as a Markdown table. ``--model convnext --arch tiny``
and ``--model cyclemlp --arch b1`` time the other backbones of the paper. All
models have equal weights where they share them.

A product of large matrices is timed in the same rounds. The last column of a
forward pass is the rate of the model's products (two operations per
multiply-accumulate, without the matching) as a share of the rate of this one.
"""

import argparse
from functools import partial
from statistics import median
from typing import Callable, Dict, List, Optional

import ata_mm  # noqa: F401  must precede imports of mmaction

import torch
from benchmark_matching import read_clips
from mmaction.models import TimeSformer
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from ata_mm.apis.config import use_device
from ata_mm.checkpoints import load_pretrained
from ata_mm.cli.arguments import add_timing_options
from ata_mm.cli.console import round_progress
from ata_mm.cli.errors import user_errors
from ata_mm.cli.timing import paired_times, ratio_table
from ata_mm.introspection.complexity import count_complexity
from ata_mm.models import ATATimeSformer


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Time temporal modules against each other'
    )
    parser.add_argument('video', nargs='?', help='default: a rendered one')
    parser.add_argument(
        '--model',
        choices=['vit', 'convnext', 'cyclemlp'],
        default='vit',
        help='backbone (vit)',
    )
    parser.add_argument(
        '--arch', help='size of convnext (base) or cyclemlp (b5)'
    )
    parser.add_argument('--batch', type=int, default=1, help='clips (1)')
    parser.add_argument(
        '--interval',
        type=int,
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
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='(cuda if available)',
    )
    return parser.parse_args()


def vit_models() -> Dict[str, nn.Module]:
    """Return ViT-B/16 models of equal weights by name, the peer first."""
    peer = TimeSformer(num_frames=8, img_size=224, patch_size=16)
    peer.init_weights()
    for layer in peer.transformer_layers.layers:
        # Zero-initialised, the branch would not change the features that
        # later blocks match.
        nn.init.xavier_uniform_(layer.attentions[0].temporal_fc.weight)
    models = {'mmaction2 TimeSformer': peer}
    for temporal in ('TemporalAttention', 'ATA'):
        model = ATATimeSformer(num_frames=8, temporal=dict(type=temporal))
        load_pretrained(model, peer.state_dict())
        models[f'ATATimeSformer, {temporal}'] = model
    return models


def image_models(name: str, arch: Optional[str]) -> Dict[str, nn.Module]:
    """Return image backbones of equal weights with temporal modules."""
    matcher = dict(type='CoarseToFineMatcher')
    temporals = {
        'TemporalAveraging': dict(type='TemporalAveraging'),
        'TemporalAttention': dict(type='TemporalAttention', zero_init=False),
        'ATA': dict(type='ATA', zero_init=False, matcher=matcher),
        "ATA, share_alignment='stage'": dict(
            type='ATA',
            zero_init=False,
            matcher=matcher,
            share_alignment='stage',
        ),
    }
    options = {'arch': arch} if arch else {}
    models: Dict[str, nn.Module] = {}
    weights: Dict[str, Tensor] = {}
    for label, temporal in temporals.items():
        model = MODELS.build(
            dict(type=name, num_frames=8, temporal=temporal, **options)
        )
        model.load_state_dict({**model.state_dict(), **weights})
        weights = model.state_dict()
        models[f'{name}, {label}'] = model
    return models


def build_models(name: str, arch: Optional[str]) -> Dict[str, nn.Module]:
    """Return the models to time by name, the unit of the ratios first."""
    init_default_scope('mmaction')
    if name == 'vit':
        return vit_models()
    classes = dict(convnext='ATAConvNeXt', cyclemlp='ATACycleMLP')
    return image_models(classes[name], arch)


def step(model: nn.Module, x: Tensor, train: bool, amp: bool) -> None:
    """Run one forward pass, and the backward pass in training."""
    model.zero_grad()
    with torch.set_grad_enabled(train), torch.autocast(
        x.device.type, torch.bfloat16, enabled=amp
    ):
        y = model(x)
    if train:
        y.float().square().sum().backward()


def timed_functions(
    models: Dict[str, nn.Module], x: Tensor, train: bool, amp: bool
) -> Dict[str, Callable[[], object]]:
    """Return the functions to time, by name."""
    return {
        name: partial(step, model.to(x.device).train(train), x, train, amp)
        for name, model in models.items()
    }


def product(size: int, x: Tensor, amp: bool) -> Callable[[], Tensor]:
    """Return a product of square matrices in the dtype of the models."""
    dtype = torch.bfloat16 if amp else x.dtype
    matrix = torch.randn(size, size, device=x.device).to(dtype)
    return partial(torch.mm, matrix, matrix)


def peak_shares(
    models: Dict[str, nn.Module],
    x: Tensor,
    size: int,
    times: Dict[str, List[float]],
    peak: List[float],
) -> Dict[str, str]:
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


def main() -> None:
    """Print the table."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with user_errors():
        device = use_device(args.device)
        clips = read_clips(args.video, args.batch, args.interval)
        models = build_models(args.model, args.arch)
    x = clips.permute(0, 4, 1, 2, 3).contiguous().to(device)
    size = 8192 if x.is_cuda else 2048
    functions = timed_functions(models, x, args.train, args.amp)
    functions['product'] = product(size, x, args.amp)
    with round_progress(args.rounds) as advance:
        times = paired_times(functions, args.rounds, advance)
    peak = times.pop('product')
    passes = 'forward and backward' if args.train else 'forward'
    dtype = 'bf16 autocast' if args.amp else 'fp32'
    print(
        f'{passes}, clips {tuple(x.shape)}, {dtype} on {device}, '
        f'{torch.get_num_threads()} threads, {args.rounds} rounds'
    )
    print(
        f'a product of {size}x{size} matrices: '
        f'{2e-9 * size**3 / median(peak):.0f} GFLOP/s\n'
    )
    columns = (
        {}
        if args.train
        else {'of that rate': peak_shares(models, x, size, times, peak)}
    )
    print(ratio_table(times, columns))


if __name__ == '__main__':
    main()
