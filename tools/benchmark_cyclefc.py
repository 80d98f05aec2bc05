# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Time CycleFC against torchvision's deformable convolution.

``python tools/benchmark_cyclefc.py`` runs the two layers of a CycleMLP block,
along the rows and along the columns, at the sizes that the stages of
CycleMLP-B1 have for images of 224 x 224 pixels. The official implementation,
ours and a linear layer without any shift are timed in turn, round after round
in one process. For each stage it prints medians, and the medians of the ratios
within each round, as a Markdown table. Requires torchvision.
"""

import argparse
from collections.abc import Callable
from functools import partial

from ata_mm.cli.arguments import add_timing_options, positive


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Time CycleFC against torchvision's deform_conv2d"
    )
    parser.add_argument('--batch', type=positive, default=8, help='images (8)')
    parser.add_argument(
        '--train',
        action='store_true',
        help='time forward and backward instead of the forward pass alone',
    )
    add_timing_options(parser, rounds=15)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import torch
import torch.nn.functional as F
from torch import Tensor

from ata_mm.cli.console import round_progress
from ata_mm.cli.errors import user_errors
from ata_mm.cli.timing import paired_times, ratio_table
from ata_mm.models.backbones.cyclemlp import CycleFC

STAGES = ((56, 64), (28, 128), (14, 320), (7, 512))  # (side, channels)
Layer = Callable[[CycleFC, Tensor], Tensor]


def deformable(layer: CycleFC, x: Tensor) -> Tensor:
    """Compute CycleFC as in the official code.

    Args:
        layer (CycleFC): The layer.
        x (Tensor): (B, H, W, C).

    Returns:
        Tensor: (B, H, W, C).
    """
    from torchvision.ops import deform_conv2d

    offset = layer.get_buffer('offset').expand(len(x), -1, *x.shape[1:3])
    y = deform_conv2d(x.permute(0, 3, 1, 2), offset, layer.weight, layer.bias)
    return y.permute(0, 2, 3, 1)


def without_shift(layer: CycleFC, x: Tensor) -> Tensor:
    """Compute the matrix product of CycleFC alone."""
    return F.linear(x, layer.weight.flatten(1), layer.bias)


def step(
    function: Layer, layers: list[CycleFC], x: Tensor, train: bool
) -> None:
    """Run one forward pass, and the backward pass in training."""
    with torch.set_grad_enabled(train):
        along_rows, along_columns = (function(layer, x) for layer in layers)
        out = along_rows + along_columns
    if train:
        for layer in layers:
            layer.zero_grad()
        x.grad = None
        out.backward(torch.ones_like(out))


def timed_functions(
    side: int, channels: int, batch: int, train: bool
) -> dict[str, Callable[[], object]]:
    """Return the functions to time by name, the unit of the ratios first."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    shape = (batch, side, side, channels)
    x = torch.randn(shape, device=device, requires_grad=train)
    layers = [CycleFC(channels, dim).to(device) for dim in (1, 2)]
    functions: dict[str, Layer] = {
        'deform_conv2d': deformable,
        'CycleFC': CycleFC.forward,
        'linear layer, no shift': without_shift,
    }
    return {
        name: partial(step, function, layers, x, train)
        for name, function in functions.items()
    }


def main() -> None:
    """Print a table for each stage."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with user_errors():
        try:
            import torchvision  # noqa: F401
        except ImportError as error:
            raise ValueError(
                'Expected torchvision to compare with. Run pip '
                'install torchvision.'
            ) from error
    passes = 'forward and backward' if args.train else 'forward'
    tables = []
    with round_progress(len(STAGES) * args.rounds) as advance:
        for side, channels in STAGES:
            times = paired_times(
                timed_functions(side, channels, args.batch, args.train),
                args.rounds,
                advance,
            )
            tables.append(
                f'{args.batch} x {side} x {side} x {channels}\n\n'
                f'{ratio_table(times)}\n'
            )
    print(
        f'Two layers, {passes}, fp32, {torch.get_num_threads()} threads, '
        f'{args.rounds} rounds\n'
    )
    print('\n'.join(tables))


if __name__ == '__main__':
    main()
