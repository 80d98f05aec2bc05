# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Train for an hour and measure what grows: ``python tools/soak.py CONFIG``.

A training by ``tools/train.py`` runs for ``--minutes``, with a checkpoint and
a validation after each epoch. It is killed and resumed ``--kills`` times.
Meanwhile this process loads the newest checkpoint and recognises videos of the
test set, again and again. Memory, file descriptors and threads of the
training, of the processes that it starts, and of this process are sampled,
together with the times of a step and of a video. The first quarter of each
process's life is dropped, the rest divided into ten windows, of which the
least value counts. Prints a Markdown table: the first and the last window, as
a mean over lives, and the slope from one to the other, as a median over
lives. The exit status is 1 if that rises, in the time of the run, by more than
its bound. Linux only.
"""

import argparse
import glob
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import ata_mm  # noqa: F401  must precede imports of mmaction

from ata_mm.cli.arguments import (
    add_cfg_options,
    cfg_option_words,
    positive,
)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Train for an hour and measure what grows'
    )
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--minutes', type=float, default=60.0, help='default: 60'
    )
    parser.add_argument(
        '--kills',
        type=int,
        default=2,
        help='number of times that the training is killed (default: 2)',
    )
    parser.add_argument(
        '--interval',
        type=positive,
        default=5,
        help='seconds between samples (default: 5)',
    )
    parser.add_argument(
        '--work-dir',
        required=True,
        help='new folder of the logs and checkpoints of the training',
    )
    add_cfg_options(parser)
    args = parser.parse_args()
    if not (args.minutes > 0 and args.kills >= 0):
        parser.error(
            'expected --minutes above 0 and --kills of at least 0, got '
            f'{args.minutes:g} and {args.kills}'
        )
    return args


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import numpy as np
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from scipy.stats import theilslopes

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.cli.console import hide_log
from ata_mm.cli.errors import user_errors
from ata_mm.cli.tables import markdown_table
from ata_mm.engine.resuming import newest

TRAIN = Path(__file__).with_name('train.py')
# Share of the time of each process that is left out: caches are filled.
WARM_UP = 0.25
WINDOWS = 10
# Bounds of the rise in the time of the run: absolute for resources, a share of
# the start for times.
RESOURCES = {'memory, MB': 32.0, 'descriptors': 2.0, 'threads': 2.0}
TIMES = 1.0
LONGEST_START = 1800  # seconds until the first step
VIDEOS = 4  # recognised at each sample


class Point(NamedTuple):
    """A value that has been sampled.

    Args:
        life (int): Number of the process, for values of a process.
        age (float): Age of the process in hours.
        hours (float): Time since the start of the run.
        value (float): The value.
    """

    life: int
    age: float
    hours: float
    value: float


class Training:
    """A training that is killed and resumed.

    Args:
        args (Namespace): Options of the command line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.work_dir = Path(args.work_dir)
        options = {
            **(args.cfg_options or {}),
            'train_cfg.max_epochs': 1000000,  # it ends by being killed
            'train_cfg.val_begin': 1,
            'train_cfg.val_interval': 1,
        }
        self._command = [
            sys.executable,
            str(TRAIN),
            args.config,
            '--work-dir',
            args.work_dir,
            '--resume',
            *cfg_option_words(options),
        ]
        self.lives = 0

    def __enter__(self) -> 'Training':
        return self

    def __exit__(self, *error: object) -> None:
        if self.lives:
            self.process.kill()
            self.process.wait()

    def start(self) -> None:
        """Start or resume it, and wait for its first step."""
        self.work_dir.mkdir(parents=True, exist_ok=True)
        self._log = self.work_dir / f'output_{self.lives}.txt'
        self._known = set(self._scalars())
        with self._log.open('w') as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=subprocess.STDOUT
            )
        self.lives += 1
        end = time.monotonic() + LONGEST_START
        while self.step_time() is None:
            self.check()
            if time.monotonic() > end:
                raise ValueError(
                    f'Expected a step within {LONGEST_START} s, got none. '
                    f'See {self._log}.'
                )
            time.sleep(0.5)

    def check(self) -> None:
        """Raise if it has ended by itself."""
        if self.process.poll() is not None:
            raise ValueError(
                'Expected a training that goes on until it is killed, but it '
                f'ended with status {self.process.returncode}. See '
                f'{self._log}.'
            )

    def kill(self) -> None:
        """Kill it, and wait for the end of the processes it started."""
        started = descendants(self.process.pid)[1:]
        self.process.kill()
        self.process.wait()
        for _ in range(60):
            alive = [pid for pid in started if Path(f'/proc/{pid}').exists()]
            if not alive:
                return
            time.sleep(0.5)
        raise ValueError(f'Processes outlived the training by 30 s: {alive}.')

    def step_time(self) -> float | None:
        """Return the mean seconds of the last logged steps of this life."""
        steps = [
            entry['time']
            for path in self._scalars()
            if path not in self._known
            for entry in entries(path)
            if 'loss' in entry
        ]
        return steps[-1] if steps else None

    def summary(self) -> str:
        """Return what has been done."""
        logged = [e for path in self._scalars() for e in entries(path)]
        validations = [e for e in logged if 'loss' not in e]
        done = newest(str(self.work_dir))
        return (
            f'{done.iter if done else 0} iterations, {len(validations)} '
            f'validations, {self.lives - 1} times killed and resumed'
        )

    def _scalars(self) -> list[Path]:
        return sorted(self.work_dir.glob('*/vis_data/scalars.json'))


def entries(path: Path) -> list[dict]:
    """Read the whole lines of a log of scalars."""
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith('\n')]


def descendants(pid: int) -> list[int]:
    """Return a process and those that it has started, directly or not."""
    found = [pid]
    for parent in found:
        for path in Path(f'/proc/{parent}/task').glob('*/children'):
            with suppress(OSError):  # the process has ended
                found += map(int, path.read_text().split())
    return found


def resources(pid: int) -> dict[str, float]:
    """Return resident memory, open descriptors and threads of a process."""
    folder = Path('/proc', str(pid))
    lines = (folder / 'status').read_text().splitlines()
    status = dict(line.split(':', 1) for line in lines)
    return {
        'memory, MB': int(status['VmRSS'].split()[0]) / 1024,
        'descriptors': len(list((folder / 'fd').iterdir())),
        'threads': int(status['Threads']),
    }


def sum_of_resources(pids: list[int]) -> dict[str, float]:
    """Return the sums over processes, without those that are ending."""
    total = dict.fromkeys(RESOURCES, 0.0)
    for pid in pids:
        with suppress(OSError, KeyError):
            for name, value in resources(pid).items():
                total[name] += value
    return total


def floors(points: list[Point]) -> np.ndarray:
    """Return the least value in each of ten windows of a life.

    What leaks stays: it raises the least value. A checkpoint that is being
    written, or another program that takes time, does not.

    Args:
        points (list[Point]): Samples of one life, from which the first are
            dropped.

    Returns:
        np.ndarray: Hours and values, (W, 2) with W of at most 10.
    """
    kept = [p for p in points if p.age >= WARM_UP * points[-1].age]
    windows = np.array_split(
        [(point.hours, point.value) for point in kept],
        min(WINDOWS, len(kept)),
    )
    return np.array([(w[:, 0].mean(), w[:, 1].min()) for w in windows])


def slope(floor: np.ndarray) -> float:
    """Return the Theil-Sen slope of what :func:`floors` returns, per hour."""
    hours, values = floor.T
    return theilslopes(values, hours).slope if len(set(hours)) > 1 else 0.0


def soak(
    args: argparse.Namespace, cfg: Config, training: Training
) -> dict[str, list[Point]]:
    """Run the training and sample it.

    Returns:
        dict[str, list[Point]]: The samples by name.
    """
    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    samples: dict[str, list[Point]] = defaultdict(list)
    lifetime = args.minutes * 60 / (args.kills + 1)
    begin, numbers = time.monotonic(), count()

    def note(name: str, value: float, life: int, born: float) -> None:
        now = time.monotonic()
        point = Point(life, (now - born) / 3600, (now - begin) / 3600, value)
        samples[name].append(point)
        # Kept if this process is ended.
        with (training.work_dir / 'soak.jsonl').open('a') as file:
            print(json.dumps([name, *point]), file=file)

    for life in range(args.kills + 1):
        training.start()
        born = time.monotonic()
        while time.monotonic() < born + lifetime:
            due = time.monotonic() + args.interval
            training.check()
            main, *workers = descendants(training.process.pid)
            for title, pids in (('training', [main]), ('workers', workers)):
                for name, value in sum_of_resources(pids).items():
                    note(f'{title}: {name}', value, life, born)
            # Times do not depend on the process: one line for all lives.
            note('step, ms', 1e3 * (training.step_time() or 0), 0, born)
            found = newest(args.work_dir)
            if found:
                start = time.perf_counter()
                recognizer = VideoRecognizer(cfg, found.path)
                for number in islice(numbers, VIDEOS):
                    info = dataset.get_data_info(number % len(dataset))
                    recognizer(info['filename'])
                seconds = (time.perf_counter() - start) / VIDEOS
                note('prediction, ms', 1e3 * seconds, 0, begin)
                for name, value in sum_of_resources([os.getpid()]).items():
                    note(f'prediction: {name}', value, 0, begin)
            time.sleep(max(due - time.monotonic(), 0))
        training.kill()
    return samples


def report(samples: dict[str, list[Point]]) -> tuple[str, list[str]]:
    """Compare what has been sampled with the bounds.

    Args:
        samples (dict[str, list[Point]]): As :func:`soak` returns them.

    Returns:
        tuple[str, list[str]]: A Markdown table, and the names of what grew.
    """
    rows, grown = [], []
    for name, points in samples.items():
        lives = defaultdict(list)
        for point in points:
            lives[point.life].append(point)
        found = [floors(life) for life in lives.values()]
        start = float(np.mean([floor[0, 1] for floor in found]))
        end = float(np.mean([floor[-1, 1] for floor in found]))
        per_hour = float(np.median([slope(floor) for floor in found]))
        rise = per_hour * (points[-1].hours - points[0].hours)
        bound = RESOURCES.get(name.split(': ')[-1], TIMES * start)
        if rise > bound:
            grown.append(f'{name} by {rise:.1f}')
        numbers = (f'{value:.1f}' for value in (start, end, per_hour, bound))
        rows.append([name, *numbers])
    header = ['', 'start', 'end', 'slope per hour', 'bound of the rise']
    return markdown_table(header, rows), grown


def main() -> None:
    """Run the training and print the table."""
    args = parse_args()
    hide_log()
    with user_errors():
        cfg = load_config(args.config, args.cfg_options)
        if glob.glob(os.path.join(args.work_dir, '*')):
            raise ValueError(
                f'Expected a new folder for --work-dir, got {args.work_dir}, '
                'which is not empty.'
            )
        with Training(args) as training:
            table, grown = report(soak(args, cfg, training))
    print(f'{table}\n\n{training.summary()}')
    if grown:
        sys.exit(f'soak.py: error: grew: {", ".join(grown)}')


if __name__ == '__main__':
    main()
