# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Time CycleFC against torchvision's deformable convolution.

``python tools/benchmark_cyclefc.py`` runs the two layers of a CycleMLP block,
along the rows and along the columns, at the sizes that the stages of
CycleMLP-B1 have for images of 224 x 224 pixels. The official code's way, ours
and a linear layer without any shift take turns, round after round in one
process. For each stage it prints medians and the median of the ratios of each
round, as a Markdown table. Needs torchvision.
"""
import argparse
from functools import partial
from typing import Callable, Dict

import ata_mm  # noqa: F401  must precede what mmaction2 imports

import torch
import torch.nn.functional as F
from mmengine.utils import ProgressBar
from torch import Tensor

from ata_mm.cli.launch import user_errors
from ata_mm.cli.timing import paired_times, ratio_table
from ata_mm.models.backbones.cyclemlp import CycleFC

STAGES = ((56, 64), (28, 128), (14, 320), (7, 512))


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Time CycleFC against torchvision's deform_conv2d")
    parser.add_argument('--batch', type=int, default=8, help='images (8)')
    parser.add_argument('--rounds', type=int, default=15, help='rounds (15)')
    parser.add_argument(
        '--train',
        action='store_true',
        help='time forward and backward, not the forward pass alone')
    parser.add_argument(
        '--threads', type=int, help="threads (default: torch's choice)")
    return parser.parse_args()


def deformable(layer: CycleFC, x: Tensor) -> Tensor:
    """CycleFC as in the official code."""
    from torchvision.ops import deform_conv2d
    offset = layer.offset.expand(len(x), -1, *x.shape[1:3])
    y = deform_conv2d(x.permute(0, 3, 1, 2), offset, layer.weight, layer.bias)
    return y.permute(0, 2, 3, 1)


def without_shift(layer: CycleFC, x: Tensor) -> Tensor:
    """The matrix product alone."""
    return F.linear(x, layer.weight.flatten(1), layer.bias)


def step(way: Callable[[CycleFC, Tensor], Tensor], layers: torch.nn.Module,
         x: Tensor, train: bool) -> None:
    """One pass forward, and backward in training."""
    with torch.set_grad_enabled(train):
        out = sum(way(layer, x) for layer in layers)
    if train:
        layers.zero_grad()
        x.grad = None
        out.backward(torch.ones_like(out))


def ways(size: int, channels: int, batch: int,
         train: bool) -> Dict[str, Callable[[], None]]:
    """What is timed, by name; the first is the unit of the ratios."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    shape = (batch, size, size, channels)
    x = torch.randn(shape, device=device, requires_grad=train)
    layers = torch.nn.ModuleList(CycleFC(channels, dim) for dim in (1, 2))
    named = {
        'deform_conv2d': deformable,
        'CycleFC': CycleFC.forward,
        'linear layer, no shift': without_shift
    }
    return {
        name: partial(step, way, layers.to(device), x, train)
        for name, way in named.items()
    }


def main() -> None:
    """Time and print."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with user_errors():
        try:
            import torchvision  # noqa: F401
        except ImportError as error:
            raise ValueError('expected torchvision to compare with: pip '
                             'install torchvision') from error
    what = 'forward and backward' if args.train else 'forward'
    bar = ProgressBar(len(STAGES) * args.rounds)
    tables = []
    for size, channels in STAGES:
        times = paired_times(
            ways(size, channels, args.batch, args.train), args.rounds,
            bar.update)
        tables.append(f'{args.batch} x {size} x {size} x {channels}\n\n'
                      f'{ratio_table(times)}\n')
    print(f'\n\nTwo layers, {what}, fp32, {torch.get_num_threads()} threads, '
          f'{args.rounds} rounds\n')
    print('\n'.join(tables))


if __name__ == '__main__':
    main()
