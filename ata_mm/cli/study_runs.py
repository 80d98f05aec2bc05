# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Run a study: train and test its models, and collect the results.

Each run calls ``tools/train.py``, ``tools/test.py`` and
``tools/measure_routes.py`` as a user would.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Lock
from types import FrameType

from ata_mm import __version__

import torch
from mmaction.registry import DATASETS
from mmengine.fileio import load
from mmengine.registry import init_default_scope
from mmengine.utils import get_git_hash

from ata_mm.engine.resuming import last_checkpoint

from .console import print_error
from .errors import is_user_error, one_line
from .result_files import ResultFile, lock_file, newest_metrics
from .study import Run, Study, read_results, run_identity
from .tool_process import tool_path

_WRITING = Lock()  # for the threads of this process
_STARTING = Lock()
_TOOLS: set[subprocess.Popen] = set()  # those that run
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_study(study: Study, results: Path, jobs: int) -> list[dict]:
    """Run what has no result yet: all trials, then the runs.

    Ctrl-C and SIGTERM end this process and its tools.

    Args:
        study (Study): The study.
        results (Path): JSON Lines file, appended to after each run.
        jobs (int): Number of parallel runs.

    Returns:
        list[dict]: The results of the runs, without the trials.

    Raises:
        SystemExit: If a run fails, after all others that do not depend on it.
    """
    with ResultFile(str(results), wait=True):
        pass  # an error now, not after the first training
    done = _run_all(study.trials(), study, results, jobs)
    done &= _run_all(study.runs(results), study, results, jobs)
    if not done:
        sys.exit(1)
    return read_results(results, study.runs(results))


def _run_all(
    runs: Sequence[Run], study: Study, results: Path, jobs: int
) -> bool:
    """Run what has no result yet, and return whether all have one."""
    finished = set(map(run_identity, read_results(results, runs)))
    for run in runs:
        if run.key in finished:
            print(f'[{run.name}] is in {results}', flush=True)
    left = [run for run in runs if run.key not in finished]
    # Before signals have handlers. The processes that write videos would
    # inherit them, and one that waits for a lock then may miss the signal by
    # which its pool ends it.
    _make_data(left)
    running: list[Future] = []
    with _ending_with_tools(), ThreadPoolExecutor(jobs) as pool:
        for run in left:
            future = pool.submit(_run, run, study, results)
            future.add_done_callback(partial(_report, run))
            running.append(future)
    return not any(future.exception() for future in running)


def _report(run: Run, future: Future) -> None:
    """Print an error at once, since other runs may take hours to end."""
    error = future.exception()
    if error:
        if isinstance(error, RuntimeError):
            text = str(error)  # whole lines of the log of a tool
        elif isinstance(error, Exception) and is_user_error(error):
            text = one_line(error)
        else:
            text = repr(error)
        print_error(f'[{run.name}] {text}')


def _make_data(runs: Sequence[Run]) -> None:
    """Build the data sets, which write the videos that runs share."""
    made = set()
    for run in runs:
        init_default_scope(run.cfg.default_scope)
        for name in ('train', 'val', 'test'):
            dataset = run.cfg[f'{name}_dataloader'].dataset
            if repr(dataset) not in made:
                made.add(repr(dataset))
                DATASETS.build(dataset)


def _run(run: Run, study: Study, results: Path) -> None:
    """Train and test, unless another process does, and append the result."""
    run.folder.mkdir(parents=True, exist_ok=True)
    with _locked(run):
        with _WRITING:  # reading would release the lock of the file
            found = read_results(results, [run])
        if not found:
            _train_and_test(run, study, results)


@contextmanager
def _locked(run: Run) -> Iterator[None]:
    """Wait until no other process trains in the folder of a run."""
    path = str(run.folder / 'lock')
    with open(path, 'wb') as file:
        try:
            lock_file(file, path)
        except ValueError:
            print(f'[{run.name}] waits for another process', flush=True)
            lock_file(file, path, wait=True)
        yield


def _train_and_test(run: Run, study: Study, results: Path) -> None:
    run.cfg.dump(run.config_file)
    resume = (run.folder / 'last_checkpoint').is_file()
    start = time.perf_counter()
    _call(
        run,
        'train.txt',
        'train.py',
        run.config_file,
        '--work-dir',
        run.folder,
        '--seed',
        run.seed,
        *(['--resume'] if resume else []),
    )
    result = dict(
        arm=run.arm,
        seed=run.seed,
        config=run.config,
        options=run.options,
        setting=run.setting,
        digest=run.digest,
        # That of a resumed training is not known.
        train_seconds=(
            None if resume else round(time.perf_counter() - start, 1)
        ),
        metric_keys=study.metrics,
        curve=_curve(run, study.metrics),
        software=dict(
            ata_mm=__version__,
            revision=get_git_hash(digits=7),
            torch=torch.__version__,
        ),
        machine=_machine(),
    )
    if not run.trial:
        result.update(_test(run, study))
        if study.routes:
            result['routes'] = _measure_routes(run, study.routes)
    with _WRITING, ResultFile(str(results), wait=True) as file:
        file.write(result)


def _curve(run: Run, metrics: dict[str, str]) -> list[dict]:
    """Read the validations of a run, which has been trained.

    Raises:
        ValueError: If there are none with the metrics.
    """
    curve = read_curve(run.folder, metrics)
    if not curve:
        raise ValueError(
            f'Expected validations with the metrics '
            f'{", ".join(metrics.values())}, got none in {run.folder}. '
            'Correct metrics of the study, or the evaluator of the config; '
            'the training is not repeated.'
        )
    return curve


def _machine() -> str:
    """Name what the times of a result depend on."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    capability = torch.backends.cpu.get_cpu_capability()
    cores = len(os.sched_getaffinity(0))
    return f'{cores} {platform.machine()} cores, {capability}'


def _test(run: Run, study: Study) -> dict[str, object]:
    """Test the last checkpoint."""
    start = time.perf_counter()
    checkpoint = last_checkpoint(str(run.folder))
    predictions = run.folder / 'predictions.pkl'
    _call(
        run,
        'test.txt',
        'test.py',
        run.config_file,
        checkpoint,
        '--work-dir',
        run.folder / 'test',
        '--dump',
        predictions,
    )
    return dict(
        checkpoint=os.path.relpath(checkpoint),
        test_seconds=round(time.perf_counter() - start, 1),
        metrics=_rounded(newest_metrics(run.folder / 'test'), study.metrics),
        **read_predictions(predictions),
    )


def _measure_routes(run: Run, videos: int) -> list[dict]:
    """Compare routes with the true motion, epoch by epoch that was kept."""
    files = {
        int(file.stem.split('_')[1]): file
        for file in run.folder.glob('epoch_*.pth')
    }
    *earlier, last = (files[epoch] for epoch in sorted(files))
    blocks = _describe(run, [last], videos)
    # Over the epochs, routes alone are reported.
    if earlier:
        blocks = _describe(run, earlier, videos, '--no-information') + blocks
    epochs = sorted(files)[-len(blocks) :]
    return [dict(epoch=e, blocks=own) for e, own in zip(epochs, blocks)]


def _describe(
    run: Run, checkpoints: Sequence[Path], videos: int, *options: str
) -> list[list[dict]]:
    """Describe the temporal modules of checkpoints."""
    out = run.folder / 'routes.json'
    _call(
        run,
        'routes.txt',
        'measure_routes.py',
        run.config_file,
        *checkpoints,
        '--videos',
        videos,
        '--out',
        out,
        *options,
    )
    found = json.loads(out.read_text())['checkpoints']
    return [checkpoint['blocks'] for checkpoint in found]


def _call(run: Run, log: str, tool: str, *args: object) -> None:
    """Run a tool, log its output, and show the progress of its epochs."""
    words = list(map(str, args))
    line = ' '.join([f'tools/{tool}', *words])
    print(f'[{run.name}] python {line}', flush=True)
    path = run.folder / log
    with path.open('w') as file, _start(tool_path(tool), words) as process:
        assert process.stdout is not None  # because of PIPE
        for output in process.stdout:
            file.write(output)
            if 'Epoch(' in output:
                epoch = output[output.index('Epoch(') :].rstrip()
                print(f'[{run.name}] {epoch}', flush=True)
    _TOOLS.discard(process)
    if process.returncode:
        tail = '\n'.join(path.read_text().splitlines()[-15:])
        raise RuntimeError(f'python {line} failed, see {path}:\n{tail}')


def _start(tool: Path, args: Sequence[str]) -> subprocess.Popen:
    with _STARTING:
        process = subprocess.Popen(
            [sys.executable, str(tool), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',  # a library may write any bytes
        )
        _TOOLS.add(process)
    return process


@contextmanager
def _ending_with_tools() -> Iterator[None]:
    """End tools with this process when it is interrupted or terminated.

    They would go on to train, and the same command would train a second time
    in their folders. A pool of threads would first start what is left.
    """
    before = {one: signal.signal(one, _end_with_tools) for one in _SIGNALS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _end_with_tools(signum: int, frame: FrameType | None) -> None:
    for one in _SIGNALS:  # a second one would wait for the lock of the first
        signal.signal(one, signal.SIG_IGN)
    _STARTING.acquire()  # no thread starts another one
    for process in tuple(_TOOLS):
        process.kill()
    os._exit(128 + signum)


def read_predictions(path: Path) -> dict[str, object]:
    """Read which videos were recognised.

    Args:
        path (Path): What ``tools/test.py --dump`` has written.

    Returns:
        dict: ``'correct'``: a character for each test video, '1' if its top-1
        is right; ``'labels'``: their classes; ``'speeds'``: those of the
        videos, if they have one.
    """
    samples = load(path)
    correct = [s['pred_score'].argmax() == s['gt_label'] for s in samples]
    result: dict[str, object] = dict(
        correct=''.join(str(int(right)) for right in correct),
        labels=[int(s['gt_label']) for s in samples],
    )
    if all('speed' in sample for sample in samples):
        result['speeds'] = [round(s['speed'], 4) for s in samples]
    return result


def read_curve(folder: Path, metrics: dict[str, str]) -> list[dict]:
    """Read the validations of a run from the files of mmengine.

    Args:
        folder (Path): The folder of the run.
        metrics (dict[str, str]): Keys of the metrics by name.

    Returns:
        list[dict]: The metrics of each by name, with the ``'epoch'``.
    """
    epochs: dict[int, dict] = {}
    for file in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            with suppress(ValueError):  # cut off, where a run was killed
                entry = json.loads(line)
                if all(key in entry for key in metrics.values()):
                    epochs[entry['step']] = entry
    return [
        dict(epoch=epoch, **_rounded(epochs[epoch], metrics))
        for epoch in sorted(epochs)
    ]


def _rounded(entry: dict, metrics: dict[str, str]) -> dict[str, float]:
    return {name: round(entry[key], 4) for name, key in metrics.items()}
