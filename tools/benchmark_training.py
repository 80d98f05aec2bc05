# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Time ``ResumableRunner``: ``python tools/benchmark_training.py CONFIG``.

Trains one epoch, with its checkpoint and validation, by mmengine's ``Runner``
without hooks of ata_mm, and as ``tools/train.py`` does, round after round in
one process that also loads the data. Prints medians, and the median of the
ratios within each round, as a Markdown table. Building the runner is not
timed.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Callable

import ata_mm  # noqa: F401  must precede imports of mmaction

from ata_mm.cli.arguments import add_cfg_options, add_timing_options


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Time ResumableRunner beside the Runner of mmengine'
    )
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--cpu-time',
        action='store_true',
        help='time on the CPU of this process, which other programs disturb '
        'less',
    )
    add_timing_options(parser, rounds=20)
    add_cfg_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import torch
from mmaction.registry import RUNNERS
from mmengine.config import Config
from mmengine.runner import Runner

from ata_mm.apis import load_config
from ata_mm.cli.console import hide_log, round_progress
from ata_mm.cli.errors import user_errors
from ata_mm.cli.launch import fit_workers, guard_videos
from ata_mm.cli.timing import ratio_table

STOCK, OURS = 'Runner', 'ResumableRunner'


def complete(cfg: Config, kind: str) -> Config:
    """Return the config of one epoch by a runner in this process."""
    cfg = copy.deepcopy(cfg)
    cfg.runner_type, cfg.launcher, cfg.log_level = kind, 'none', 'ERROR'
    cfg.randomness = dict(seed=0)
    cfg.train_cfg.update(max_epochs=1, val_begin=1, val_interval=1)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.num_workers = 0
    fit_workers(cfg)
    if kind == STOCK:
        cfg.custom_hooks = []
    else:
        guard_videos(cfg)
    return cfg


def build(cfg: Config, number: int) -> Runner:
    """Build a runner with a name of its own: mmengine caches by name."""
    cfg = copy.deepcopy(cfg)
    cfg.work_dir = tempfile.mkdtemp(dir=cfg.work_dir)
    cfg.experiment_name = f'{cfg.runner_type}_{number}'
    return RUNNERS.build(cfg)


def paired_epochs(
    cfgs: dict[str, Config], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Time an epoch of each runner in turn, after one that is not timed."""
    times: dict[str, list[float]] = {kind: [] for kind in cfgs}
    with round_progress(rounds) as advance:
        for number in range(rounds + 1):
            for kind, cfg in cfgs.items():
                runner = build(cfg, number)
                start = clock()
                runner.train()
                if number:
                    times[kind].append(clock() - start)
            if number:
                advance()
    return times


def main() -> None:
    """Print the table."""
    args = parse_args()
    hide_log()
    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder, user_errors():
        cfg = load_config(args.config, args.cfg_options)
        cfg.work_dir = folder
        cfgs = {kind: complete(cfg, kind) for kind in (STOCK, OURS)}
        clock = time.process_time if args.cpu_time else time.perf_counter
        times = paired_epochs(cfgs, args.rounds, clock)
    print(ratio_table(times))


if __name__ == '__main__':
    main()
