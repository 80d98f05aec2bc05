# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Commands of the package: ``python -m ata_mm doctor`` and ``finetune``."""

import argparse
import sys

from ata_mm.cli.arguments import add_finetune_options
from ata_mm.requirements import required_modules


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m ata_mm', description='ATA for MMAction2'
    )
    commands = parser.add_subparsers(
        dest='command', required=True, metavar='COMMAND'
    )
    commands.add_parser(
        'doctor',
        help='check packages, shims, GPU, decoder, solver, and a small model; '
        'exit status 1 if something does not work',
    )
    add_finetune_options(
        commands.add_parser(
            'finetune',
            help='fine-tune on a folder of your own videos, test, predict '
            'and visualize; the config is kept',
        )
    )
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    args = parse_args()
    # Here, so that --help does not wait for torch and MMAction2.
    if args.command == 'finetune':
        with required_modules():
            from ata_mm.cli.finetune import finetune
        finetune(args)
    else:
        with required_modules():
            from ata_mm.cli.doctor import doctor
        sys.exit(doctor())


if __name__ == '__main__':
    main()
