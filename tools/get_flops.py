# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Count the parameters and multiply-accumulates of one view.

``python tools/get_flops.py CONFIG …`` prints a Markdown table with a row for
each config. The products of attention are included. The matching has separate
columns: the number of frame pairs and of patches, and the
multiply-accumulates of their similarities. Other tools may count one
multiply-accumulate as two FLOPs.
"""

import argparse
from pathlib import Path

from ata_mm.cli.arguments import add_cfg_options, positive


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Count parameters and multiply-accumulates of one view'
    )
    parser.add_argument('configs', nargs='+', metavar='CONFIG')
    parser.add_argument(
        '--shape',
        nargs=3,
        type=positive,
        metavar=('T', 'H', 'W'),
        help="frames, height and width (default: the test pipeline's)",
    )
    parser.add_argument(
        '--without',
        nargs='+',
        default=[],
        metavar='TYPE',
        help='types of modules to exclude, such as CycleFC, which many '
        'counters of FLOPs do not support',
    )
    add_cfg_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ata_mm.apis import load_config
from ata_mm.cli.console import hide_log
from ata_mm.cli.errors import user_errors
from ata_mm.cli.tables import markdown_row, markdown_table
from ata_mm.introspection.complexity import (
    Complexity,
    count_complexity,
    view_shape,
)

HEADER = (
    'config',
    'view',
    'parameters, M',
    'MACs, G',
    'matching: pairs x patches',
    'its similarities, MACs, G',
)


def measure(
    cfg: Config, args: argparse.Namespace, unused: set[str]
) -> list[str]:
    """Return the cells of one config, and take its types from the unused."""
    shape = view_shape(cfg, args.shape)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    unused -= {type(module).__name__ for module in model.modules()}
    cost = count_complexity(model, shape, args.without)
    view = 'x'.join(str(size) for size in shape[1:] if size > 1)
    return [
        Path(cfg.filename).stem,
        view,
        f'{cost.parameters / 1e6:.1f}',
        f'{cost.macs / 1e9:.1f}',
        format_matchings(cost),
        f'{cost.similarity_macs / 1e9:.1f}',
    ]


def format_matchings(cost: Complexity) -> str:
    """Format matchings such as '84 x 196', or '-' without any."""
    parts = (f'{pairs} x {num}' for num, pairs in cost.matchings.items())
    return ' + '.join(parts) or '-'


def main() -> None:
    """Print the table, each row as soon as it is counted."""
    args = parse_args()
    hide_log()
    with user_errors():
        unused = set(args.without)
        for number, path in enumerate(args.configs):
            cfg = load_config(path, args.cfg_options)
            row = measure(cfg, args, unused)
            if number == 0:
                print(markdown_table(HEADER, []))
            print(markdown_row(row), flush=True)
        if unused:
            raise ValueError(
                'Expected --without types of modules, but no model has '
                f'{", ".join(sorted(unused))}.'
            )


if __name__ == '__main__':
    main()
