# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Train, test, predict and visualize on camera motion.

``quickstart.sh`` runs it. Each step calls a tool as a user would, and prints
the command. What is complete is not repeated.
"""

import argparse
import os
from pathlib import Path

from ata_mm.cli.arguments import positive, seed


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog='quickstart.sh',
        description='Train, test, predict and visualize on camera motion',
    )
    parser.add_argument('--seeds', type=seed, nargs='+', help='default: 0')
    parser.add_argument(
        '--fast',
        action='store_true',
        help='run every step, too short to learn',
    )
    parser.add_argument(
        '--jobs',
        type=positive,
        default=len(os.sched_getaffinity(0)),
        help='number of parallel runs (default: one per core)',
    )
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

from ata_mm.cli.errors import user_errors
from ata_mm.cli.study import load_study
from ata_mm.cli.study_report import result_table
from ata_mm.cli.study_runs import run_study
from ata_mm.cli.tables import markdown_table
from ata_mm.cli.tool_process import run_tool

STUDY = 'configs/studies/quickstart.py'
SHOWN = 'refined ATA'  # predicts, and has its routes drawn


def run_on_video(tool: str, result: dict, video: Path, out: Path) -> None:
    """Run a tool with a trained model on a video of the test set."""
    run_tool(
        tool,
        video,
        '--config',
        result['config'],
        '--checkpoint',
        result['checkpoint'],
        '--out-dir',
        out,
    )


def main() -> None:
    """Run all steps."""
    args = parse_args()
    root = Path('work_dirs') / (
        'quickstart_fast' if args.fast else 'quickstart'
    )
    with user_errors():
        study = load_study(STUDY, root, args.seeds, args.fast)
        results = run_study(study, root / 'results.jsonl', args.jobs)
    shown = next(result for result in results if result['arm'] == SHOWN)
    cfg = study.arms[0].trials[0].cfg
    data = Path(cfg.test_dataloader.dataset.data_root)
    video = data / 'val' / '00000.mp4'
    run_on_video('predict.py', shown, video, root / 'prediction')
    run_on_video('visualize.py', shown, video, root / 'routes')
    table = markdown_table(*result_table(results, list(study.metrics)))
    print(f'\n{study.title}\n\n{table}\n')
    print(f'videos: {data}\nlogs, checkpoints, prediction, routes: {root}')


if __name__ == '__main__':
    main()
