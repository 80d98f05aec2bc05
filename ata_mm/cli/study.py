# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Train and test models with several seeds, and report the results.

A study is a config file, see ``configs/studies``. Each of its runs calls
``tools/train.py`` and ``tools/test.py`` as a user would. A result is one line
of a JSON Lines file.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Dict, List, Optional, Sequence, Tuple

from ata_mm import __version__

import torch
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.fileio import put_text
from mmengine.registry import init_default_scope

from ata_mm.apis import load_config

from .console import print_error

_STUDY_KEYS = (
    'arms',
    'config',
    'metrics',
    'options',
    'seeds',
    'smoke',
    'title',
)
_WRITING = Lock()  # parallel runs share the file of results
_ARM_KEYS = ('config', 'options', 'seeds')


@dataclass(frozen=True)
class Run:
    """Training and test of one arm of a study with one seed.

    Args:
        arm (str): Name of the arm.
        seed (int): The random seed.
        config (str): Path of the config.
        options (dict[str, object]): Settings by dotted key.
        cfg (Config): The config with the options.
        root (Path): Folder of the study.
    """

    arm: str
    seed: int
    config: str
    options: Dict[str, object]
    cfg: Config
    root: Path

    @property
    def name(self) -> str:
        """Title in messages."""
        return f'{self.arm}, seed {self.seed}'

    @property
    def digest(self) -> str:
        """A hash that changes with the config."""
        content = repr(self.cfg.to_dict())
        return hashlib.sha256(content.encode()).hexdigest()[:8]

    @property
    def key(self) -> Tuple[str, int, str]:
        """What identifies the run among the results."""
        return self.arm, self.seed, self.digest

    @property
    def folder(self) -> Path:
        """Folder of logs and checkpoints, of this config alone."""
        plain = ''.join(
            c if c.isalnum() or c in '=.-' else ' ' for c in self.arm
        )
        words = [*plain.split(), f'seed{self.seed}', self.digest]
        return self.root / '_'.join(words)


@dataclass(frozen=True)
class Study:
    """Runs, and what is reported of them.

    Args:
        title (str): Title of the table.
        metrics (dict[str, str]): Keys of the metrics by column.
        runs (list[Run]): All arms with all their seeds.
    """

    title: str
    metrics: Dict[str, str]
    runs: List[Run]


def load_study(
    path: str,
    root: Path,
    seeds: Optional[Sequence[int]] = None,
    smoke: bool = False,
) -> Study:
    """Read the config file of a study.

    Args:
        path (str): The file. It sets ``title``, ``metrics``, ``config``,
            ``seeds`` and ``arms``: by name, what an arm has other than the
            study, of ``config``, ``seeds`` and ``options``. The ``options`` of
            the study are merged into the config of each arm, before those of
            the arm; the ``smoke`` options last, if asked for. Names that start
            with an underscore are variables of the file.
        root (Path): Folder for those of the runs.
        seeds (Sequence[int], optional): Replace those of the file. Defaults
            to None.
        smoke (bool): Run every step, too short to learn. Defaults to False.

    Returns:
        Study: The study.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a key is missing or unknown.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            'Expected the config of a study, such as '
            f'configs/studies/quickstart.py, but {path} is not a file.'
        )
    content = Config.fromfile(path).to_dict()
    content = {k: v for k, v in content.items() if not k.startswith('_')}
    _check_keys(content, _STUDY_KEYS, path)
    for key in ('title', 'metrics', 'arms'):
        if not content.get(key):
            raise ValueError(f'Expected {key} in the study {path}.')
    runs = []
    for name, own in content['arms'].items():
        _check_keys(own, _ARM_KEYS, f'{path}, arm {name}')
        arm = {**content, **own}
        if not arm.get('config') or not arm.get('seeds'):
            raise ValueError(
                f'Expected config and seeds for arm {name} of {path}: its '
                'own, or those of the study.'
            )
        options = {
            **content.get('options', {}),
            **own.get('options', {}),
            **(content.get('smoke', {}) if smoke else {}),
        }
        cfg = load_config(arm['config'], options)
        for seed in seeds or arm['seeds']:
            runs.append(Run(name, seed, arm['config'], options, cfg, root))
    return Study(content['title'], content['metrics'], runs)


def _check_keys(found: dict, known: Sequence[str], place: str) -> None:
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise ValueError(
            f'Expected keys of {", ".join(known)} in {place}, got '
            f'{", ".join(unknown)}.'
        )


def read_results(path: Path, runs: Sequence[Run]) -> List[dict]:
    """Read the results of runs.

    Args:
        path (Path): The JSON Lines file; it may not exist yet.
        runs (Sequence[Run]): The runs.

    Returns:
        list[dict]: The newest result of each run that has one for its present
        config, in the order of the runs.
    """
    lines = path.read_text().splitlines() if path.is_file() else []
    found = {_identity(entry): entry for entry in map(json.loads, lines)}
    return [found[run.key] for run in runs if run.key in found]


def _identity(result: dict) -> tuple:
    return result['arm'], result['seed'], result['digest']


def run_study(study: Study, results: Path, jobs: int) -> List[dict]:
    """Run what has no result yet.

    Args:
        study (Study): The study.
        results (Path): JSON Lines file, appended to after each run.
        jobs (int): Number of parallel runs.

    Returns:
        list[dict]: The results of all runs.

    Raises:
        SystemExit: If a run fails, after all others.
    """
    finished = set(map(_identity, read_results(results, study.runs)))
    results.parent.mkdir(parents=True, exist_ok=True)
    _make_data(study.runs)
    running: List[Future] = []
    with ThreadPoolExecutor(jobs) as pool:
        for run in study.runs:
            if run.key in finished:
                print(f'[{run.name}] is in {results}', flush=True)
            else:
                future = pool.submit(_run, run, study, results)
                future.add_done_callback(partial(_report, run))
                running.append(future)
    if any(future.exception() for future in running):
        sys.exit(1)
    return read_results(results, study.runs)


def _report(run: Run, future: Future) -> None:
    """Print an error at once, since other runs may take hours to end."""
    if future.exception():
        print_error(f'[{run.name}] {future.exception()!r}')


def _make_data(runs: Sequence[Run]) -> None:
    """Build the data sets, which write the videos that runs share."""
    for run in runs:
        init_default_scope(run.cfg.default_scope)
        for loader in (run.cfg.train_dataloader, run.cfg.test_dataloader):
            DATASETS.build(loader.dataset)


def _run(run: Run, study: Study, results: Path) -> None:
    """Train and test, and append the result."""
    run.folder.mkdir(parents=True, exist_ok=True)
    resume = (run.folder / 'last_checkpoint').is_file()
    words = [f'{key}={value}' for key, value in run.options.items()]
    options = ['--cfg-options', *words] if words else []
    start = time.perf_counter()
    _call(
        run,
        'train.txt',
        'tools/train.py',
        run.config,
        '--work-dir',
        run.folder,
        '--seed',
        run.seed,
        *(['--resume'] if resume else []),
        *options,
    )
    trained = time.perf_counter()
    checkpoint = (run.folder / 'last_checkpoint').read_text()
    _call(
        run,
        'test.txt',
        'tools/test.py',
        run.config,
        checkpoint,
        '--work-dir',
        run.folder / 'test',
        *options,
    )
    result = dict(
        arm=run.arm,
        seed=run.seed,
        config=run.config,
        options=run.options,
        digest=run.digest,
        checkpoint=os.path.relpath(checkpoint),
        # That of a resumed training is not known.
        train_seconds=None if resume else round(trained - start, 1),
        test_seconds=round(time.perf_counter() - trained, 1),
        **read_metrics(run.folder, study.metrics),
        software=dict(ata_mm=__version__, torch=torch.__version__),
    )
    with _WRITING:
        before = results.read_text() if results.is_file() else ''
        put_text(f'{before}{json.dumps(result)}\n', results)


def _call(run: Run, log: str, *command: object) -> None:
    """Run a tool, log its output, and show the progress of its epochs."""
    line = ' '.join(map(str, command))
    print(f'[{run.name}] python {line}', flush=True)
    path = run.folder / log
    with path.open('w') as file, subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None  # because of PIPE
        for output in process.stdout:
            file.write(output)
            if 'Epoch(' in output:
                epoch = output[output.index('Epoch(') :].rstrip()
                print(f'[{run.name}] {epoch}', flush=True)
    if process.returncode:
        tail = '\n'.join(path.read_text().splitlines()[-15:])
        raise RuntimeError(f'python {line} failed, see {path}:\n{tail}')


def read_metrics(folder: Path, metrics: Dict[str, str]) -> Dict[str, object]:
    """Read the metrics of a run from the files of mmengine.

    Args:
        folder (Path): The folder of the run.
        metrics (dict[str, str]): Keys of the metrics by name.

    Returns:
        dict: ``'metrics'``: those of the test by name; ``'curve'``: those of
        each validation, with its ``'epoch'``.
    """
    tests = sorted(
        folder.glob('test/*/*.json'), key=lambda file: file.stat().st_mtime
    )
    tested = json.loads(tests[-1].read_text())
    epochs: Dict[int, dict] = {}
    for file in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            entry = json.loads(line)
            if all(key in entry for key in metrics.values()):
                epochs[entry['step']] = entry
    return dict(
        metrics=_rounded(tested, metrics),
        curve=[
            dict(epoch=epoch, **_rounded(epochs[epoch], metrics))
            for epoch in sorted(epochs)
        ],
    )


def _rounded(entry: dict, metrics: Dict[str, str]) -> Dict[str, float]:
    return {name: round(entry[key], 4) for name, key in metrics.items()}
