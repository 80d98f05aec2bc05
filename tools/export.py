# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Export a recognizer to a file of graph and weights.

``python tools/export.py CONFIG CHECKPOINT --format torch --out model.pt2``
writes the model as a function of clips (uint8) to scores, loads it again,
and prints the difference and the time beside those of the model itself.
"""

import argparse
import os.path as osp
import sys

from ata_mm.cli.arguments import add_cfg_options, make_folder_of, positive


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Export a recognizer to a file of graph and weights'
    )
    parser.add_argument('config', help='the config file')
    parser.add_argument('checkpoint', help='the trained weights')
    parser.add_argument(
        '--format',
        choices=['torch', 'onnx'],
        required=True,
        help='torch, for torch.export.load; onnx, for models without '
        'one-to-one matching',
    )
    parser.add_argument('--out', required=True, help='the file to write')
    parser.add_argument(
        '--rounds',
        type=positive,
        default=3,
        help='rounds of the comparison with the model (default: 3)',
    )
    add_cfg_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import torch

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.apis.export import example_clips, export, load
from ata_mm.cli.console import hide_log, print_message
from ata_mm.cli.errors import user_errors
from ata_mm.cli.timing import paired_times, ratio_table


def main() -> None:
    """Export the model, and compare the file with it."""
    args = parse_args()
    hide_log()
    with user_errors():
        make_folder_of(args.out, '--out')
        recognizer = VideoRecognizer(
            load_config(args.config, args.cfg_options), args.checkpoint, 'cpu'
        )
        clips = example_clips(recognizer)
        try:
            model = export(recognizer, args.out, args.format, clips)
        except ImportError as error:
            sys.exit(f'export.py: error: {error}')
        loaded = load(args.out, args.format)
    with torch.no_grad():
        difference = (loaded(clips) - model(clips)).abs().max().item()
        times = paired_times(
            {
                'PyTorch': lambda: model(clips),
                args.format: lambda: loaded(clips),
            },
            args.rounds,
        )
    shape = ' x '.join(map(str, clips.shape[1:]))
    print_message(
        f'{args.out}: {osp.getsize(args.out) / 1e6:.1f} MB, clips of {shape} '
        f'(uint8); largest difference of a score: {difference:.1e}'
    )
    print(ratio_table(times))


if __name__ == '__main__':
    main()
