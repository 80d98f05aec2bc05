# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Fine-tune on your own videos, by a config that is kept.

``python tools/finetune.py DATA --backbone NAME``, or ``python -m ata_mm
finetune`` with the same options, writes a config and lists of videos, checks
the data, prints the cost, trains, tests, predicts a video and draws its
routes. The same command again uses the config as it is, and resumes.
"""

import argparse

from ata_mm.cli.arguments import add_finetune_options


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='From own videos to a trained and tested model'
    )
    add_finetune_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

from ata_mm.cli.finetune import finetune


def main() -> None:
    """Run all steps."""
    finetune(parse_args())


if __name__ == '__main__':
    main()
