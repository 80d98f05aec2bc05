# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Recognise the action in video files.

``python tools/predict.py VIDEO … --config CONFIG --checkpoint CHECKPOINT``
prints a table for each file. The exit status is 1 if any file failed.
"""
import argparse
import sys
from typing import List, Tuple

import ata_mm  # noqa: F401  must precede what mmaction2 imports
import mmengine
from mmengine.logging import MMLogger

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.apis.launch import add_cfg_options, user_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Recognise the action in video files')
    parser.add_argument('videos', nargs='+', metavar='VIDEO')
    parser.add_argument('--config', required=True, help='the config file')
    parser.add_argument(
        '--checkpoint', required=True, help='the trained weights')
    parser.add_argument(
        '--topk',
        type=int,
        default=5,
        help='how many labels to list (default: 5)')
    parser.add_argument(
        '--device', help='cpu, cuda, cuda:1, … (default: the GPU if any)')
    parser.add_argument(
        '--out', metavar='FILE.json', help='write the results to this file')
    add_cfg_options(parser)
    return parser.parse_args()


def check_options(args: argparse.Namespace) -> None:
    """Refuse before any work what would fail after it."""
    if args.topk < 1:
        raise ValueError(f'--topk expects at least 1, got {args.topk}')
    if args.out and not args.out.endswith('.json'):
        raise ValueError(f'--out expects a .json file, got {args.out}')


def format_table(video: str, predictions: List[Tuple[str, float]]) -> str:
    """Lay out the labels of a video in lines, the best first."""
    width = max(len(label) for label, _ in predictions)
    rows = (f'{rank:4d}  {label:{width}}  {score:.4f}'
            for rank, (label, score) in enumerate(predictions, 1))
    return '\n'.join([video, *rows])


def predict(recognizer: VideoRecognizer, video: str, topk: int) -> dict:
    """Recognise one video, print its table, return its entry for JSON."""
    try:
        predictions = recognizer(video, topk)
    except (ValueError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return dict(video=video, error=str(error))
    print(format_table(video, predictions))
    return dict(
        video=video,
        predictions=[dict(label=k, score=v) for k, v in predictions])


def main() -> None:
    """Recognise as the command line says."""
    args = parse_args()
    # mmengine's notes on its own deprecations would get between the tables.
    MMLogger.get_current_instance().setLevel('ERROR')
    with user_errors():
        check_options(args)
        cfg = load_config(args.config, args.cfg_options)
        recognizer = VideoRecognizer(cfg, args.checkpoint, args.device)
    results = [predict(recognizer, video, args.topk) for video in args.videos]
    if args.out:
        mmengine.dump(results, args.out, indent=2)
    failed = [result['video'] for result in results if 'error' in result]
    if len(results) > 1:
        print(f'{len(results) - len(failed)} of {len(results)} videos '
              'recognised' + ''.join(f'\n  failed: {v}' for v in failed))
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
