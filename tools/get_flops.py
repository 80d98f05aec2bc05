# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Parameters and multiply-accumulates of one view.

``python tools/get_flops.py CONFIG …`` prints a Markdown table, a row for each
config. Products of attention are counted; the matching stands apart: how many
pairs of frames of how many patches, and the multiply-accumulates of their
similarities. One multiply-accumulate is what other tools may call two FLOPs.
"""
import argparse
from pathlib import Path

import ata_mm  # noqa: F401  must precede what mmaction2 imports

from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from ata_mm.apis import load_config
from ata_mm.cli.launch import add_cfg_options, user_errors
from ata_mm.introspection.complexity import (
    Complexity,
    count_complexity,
    view_shape,
)

HEADER = ('| config | view | parameters, M | MACs, G | matching: pairs x '
          'patches | its similarities, MACs, G |')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Parameters and multiply-accumulates of one view')
    parser.add_argument('configs', nargs='+', metavar='CONFIG')
    parser.add_argument(
        '--shape',
        nargs=3,
        type=int,
        metavar=('T', 'H', 'W'),
        help="frames, height and width (default: the test pipeline's)")
    parser.add_argument(
        '--without',
        nargs='+',
        default=[],
        metavar='TYPE',
        help='types of modules that are not counted, such as CycleFC, which '
        'counters of FLOPs often do not know')
    add_cfg_options(parser)
    return parser.parse_args()


def measure(cfg: Config, args: argparse.Namespace) -> str:
    """The row of one config."""
    shape = view_shape(cfg, args.shape)
    init_default_scope(cfg.default_scope)
    cost = count_complexity(MODELS.build(cfg.model), shape, args.without)
    view = 'x'.join(str(size) for size in shape[1:] if size > 1)
    return (f'| {Path(cfg.filename).stem} | {view} | '
            f'{cost.parameters / 1e6:.1f} | {cost.macs / 1e9:.1f} | '
            f'{format_matchings(cost)} | {cost.similarity_macs / 1e9:.1f} |')


def format_matchings(cost: Complexity) -> str:
    """Such as '84 x 196', or '-' without any."""
    parts = (f'{pairs} x {num}' for num, pairs in cost.matchings.items())
    return ' + '.join(parts) or '-'


def main() -> None:
    """Print the table."""
    args = parse_args()
    MMLogger.get_current_instance().setLevel('ERROR')
    print(HEADER + '\n' + '|---' * 6 + '|', flush=True)
    for path in args.configs:
        with user_errors():
            cfg = load_config(path, args.cfg_options)
            row = measure(cfg, args)
        print(row, flush=True)


if __name__ == '__main__':
    main()
