# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Train and test the models of a study, and print a table of the results.

``python tools/study.py configs/studies/camera_motion_mixed.py`` calls
tools/train.py and tools/test.py for every arm and seed, and appends each
result to a JSON Lines file. Runs that are in the file are not repeated, and
trainings that were interrupted are resumed. ``--report`` only reads the file.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ata_mm.cli.arguments import make_folder_of, positive, seed


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Run or report a study')
    parser.add_argument('study', help='the config, see configs/studies')
    parser.add_argument(
        '--seeds',
        type=seed,
        nargs='+',
        help='seeds of every arm (default: those of the study)',
    )
    parser.add_argument(
        '--arms', nargs='+', metavar='ARM', help='these arms (default: all)'
    )
    parser.add_argument(
        '--smoke',
        action='store_true',
        help='run every step, too short to learn',
    )
    parser.add_argument(
        '--jobs',
        type=positive,
        help='number of parallel runs (default: one per CPU core, or one if '
        'there is a GPU)',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        help='folder of the runs (default: work_dirs/studies/STUDY)',
    )
    parser.add_argument(
        '--results',
        type=Path,
        help='file of the results (default: results.jsonl in that folder)',
    )
    parser.add_argument(
        '--report',
        action='store_true',
        help='report the results that exist, without running anything',
    )
    parser.add_argument(
        '--plot', metavar='FILE', help='plot the metrics over the epochs'
    )
    parser.add_argument(
        '--plot-speed', metavar='FILE', help='plot accuracy against speed'
    )
    parser.add_argument(
        '--plot-routes',
        metavar='FILE',
        help='plot how much of the content routes follow over the epochs '
        'whose checkpoints were kept',
    )
    args = parser.parse_args()
    if args.work_dir is None:
        suffix = '_smoke' if args.smoke else ''
        name = Path(args.study).stem + suffix
        args.work_dir = Path('work_dirs/studies') / name
    if args.results is None:
        args.results = args.work_dir / 'results.jsonl'
    return args


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import torch

from ata_mm.cli.errors import user_errors
from ata_mm.cli.study import Study, load_study
from ata_mm.cli.study_report import (
    group_table,
    plot_curves,
    plot_routes,
    plot_speed,
    result_table,
    route_table,
    trial_table,
)
from ata_mm.cli.study_runs import run_study
from ata_mm.cli.tables import markdown_table
from ata_mm.visualization.canvas import check_figure_file, save_figure


def default_jobs() -> int:
    """Return the number of parallel runs that suits this machine."""
    return 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))


def main() -> None:
    """Run and report."""
    args = parse_args()
    with user_errors():
        for option in ('plot', 'plot_speed', 'plot_routes'):
            path = getattr(args, option)
            make_folder_of(path, f'--{option.replace("_", "-")}')
            check_figure_file(path or '')
        study = load_study(
            args.study, args.work_dir, args.seeds, args.smoke, args.arms
        )
        if not args.report:
            jobs = args.jobs or default_jobs()
            # Each run would otherwise start a thread for every core.
            threads = max(1, len(os.sched_getaffinity(0)) // jobs)
            os.environ.setdefault('OMP_NUM_THREADS', str(threads))
            run_study(study, args.results, jobs)
        print_report(study, args)


def print_report(study: Study, args: argparse.Namespace) -> None:
    """Print the tables of the results that exist, and draw the plots.

    Raises:
        ValueError: If there is nothing to report.
    """
    metrics = list(study.metrics)
    trials = study.trials()
    tried = study.read(args.results, trials)
    results = study.read(args.results, study.runs(args.results))
    number = sum(len(arm.seeds) for arm in study.arms)
    for name, total, known in (
        ('trials', len(trials), len(tried)),
        ('runs', number, len(results)),
    ):
        if known < total:
            print(f'{total - known} of {total} {name} have no result yet.')
    figures = args.plot or args.plot_speed or args.plot_routes
    if not results and (figures or not tried):
        raise ValueError(
            f'Expected results of {args.study}, with its present options, in '
            f'{args.results}, got none. Run the study without --report.'
        )
    if tried and study.selection:
        print(f'Settings by {study.selection} in the last validation\n')
        print(f'{markdown_table(*trial_table(tried, study.selection))}\n')
    if results:
        print(f'{study.title}\n')
        table = result_table(results, metrics, study.baseline)
        print(markdown_table(*table))
        if study.groups:
            print('\nBy groups of classes and speed\n')
            ranges = speed_ranges(study)
            print(markdown_table(*group_table(results, study.groups, ranges)))
        if args.plot:
            save_figure(plot_curves(results, metrics), args.plot, dpi=100)
        if args.plot_speed:
            save_figure(plot_speed(results), args.plot_speed, dpi=100)
        header, rows = route_table(results, study.selection or metrics[-1])
        if rows:
            print('\nRoutes, and mutual information beyond unrelated frames\n')
            print(markdown_table(header, rows))
        if args.plot_routes:
            save_figure(plot_routes(results), args.plot_routes, dpi=100)


def speed_ranges(study: Study) -> dict[str, Sequence[float]]:
    """Return the ranges of speed of the test metric, or one of all speeds."""
    evaluator = study.arms[0].trials[0].cfg.test_evaluator
    metrics = evaluator if isinstance(evaluator, list) else [evaluator]
    found = [metric.ranges for metric in metrics if 'ranges' in metric]
    return found[0] if found else {'all': (0, float('inf'))}


if __name__ == '__main__':
    main()
