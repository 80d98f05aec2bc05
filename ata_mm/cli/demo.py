# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The option ``--demo`` of tools that run a model on videos.

It stands for a video, a config and a checkpoint that come with ata_mm, see
``configs/camera_motion``.
"""

import argparse
import sys

from ata_mm.compat.config_scope import CONFIGS

_VIDEO = CONFIGS.resolve() / 'camera_motion' / 'roll_clockwise.mp4'
_MODEL = 'ata_vit_camera_motion_mixed_refined'


def demo_words() -> list[str]:
    """Return the arguments that ``--demo`` stands for."""
    (checkpoint,) = _VIDEO.parent.glob(f'{_MODEL}-*.pth')
    config = _VIDEO.parents[1] / f'{_MODEL}.py'
    words = [_VIDEO, '--config', config, '--checkpoint', checkpoint]
    return list(map(str, words))


def parse_with_demo(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line of a tool that also has the option ``--demo``.

    Args:
        parser (ArgumentParser): The parser of a tool with videos,
            ``--config`` and ``--checkpoint``.

    Returns:
        Namespace: The parsed arguments, those of the demo included.
    """
    parser.add_argument(
        '--demo',
        action='store_true',
        help='run a small model on a video, which both come with ata_mm; '
        'replaces VIDEO, --config and --checkpoint',
    )
    words = []
    for word in sys.argv[1:]:
        words += [*demo_words(), word] if word == '--demo' else [word]
    return parser.parse_args(words)


def print_demo(args: argparse.Namespace) -> None:
    """Print to stderr what ``--demo`` stands for, if it is given.

    Args:
        args (Namespace): As :func:`parse_with_demo` returns them.
    """
    if args.demo:
        print('--demo stands for:', *demo_words(), file=sys.stderr)
