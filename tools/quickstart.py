# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Train, test, predict and visualize on camera motion.

``quickstart.sh`` runs it. Each step calls a tool as a user would, and prints
the command. A finished run has ``result.json`` in its folder and is not
repeated.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Dict, List, NamedTuple


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog='quickstart.sh',
        description='Train, test, predict and visualize on camera motion',
    )
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[0], help='default: 0'
    )
    parser.add_argument(
        '--fast',
        action='store_true',
        help='run every step, too short to learn',
    )
    parser.add_argument(
        '--jobs',
        type=int,
        default=len(os.sched_getaffinity(0)),
        help='number of parallel runs (default: one per core)',
    )
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

from mmaction.registry import DATASETS
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table

from ata_mm.apis import load_config

MODELS = {
    'temporal attention': 'configs/attention_vit_camera_motion_mixed.py',
    'ATA': 'configs/ata_vit_camera_motion_mixed.py',
    'refined ATA': 'configs/ata_vit_camera_motion_mixed_refined.py',
}
SHOWN = 'refined ATA'  # predicts, and has its routes drawn
# Accuracies in the table, by their key in the metrics.
ACCURACIES = {
    'slow': 'acc/slow',
    'medium': 'acc/medium',
    'fast': 'acc/fast',
    'all': 'acc/top1',
}
# Sufficient to run every step, too little to learn.
FAST = {
    'train_dataloader.dataset.num_videos': 64,
    'val_dataloader.dataset.num_videos': 32,
    'test_dataloader.dataset.num_videos': 32,
    'train_dataloader.dataset.data_root': 'data/camera_motion_mixed_fast',
    'val_dataloader.dataset.data_root': 'data/camera_motion_mixed_fast',
    'test_dataloader.dataset.data_root': 'data/camera_motion_mixed_fast',
    'train_cfg.max_epochs': 1,
    'train_cfg.val_begin': 1,
}


class Run(NamedTuple):
    """Training and test of one model with one seed.

    Args:
        model (str): Key of ``MODELS``.
        seed (int): The random seed.
        folder (Path): Folder of logs and checkpoints.
        options (dict[str, object]): Settings by config key.
    """

    model: str
    seed: int
    folder: Path
    options: Dict[str, object]

    @property
    def name(self) -> str:
        """Title in messages and the table."""
        return f'{self.model}, seed {self.seed}'


def make_data(options: Dict[str, object]) -> Path:
    """Write the videos that the runs share, and return their folder."""
    cfg = load_config(MODELS[SHOWN], options)
    init_default_scope(cfg.default_scope)
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        DATASETS.build(loader.dataset)
    return Path(cfg.test_dataloader.dataset.data_root)


def call(name: str, log: Path, *command: object) -> None:
    """Run a tool and show its progress.

    Args:
        name (str): Title of the run.
        log (Path): File of the output.
        *command (object): Script and arguments.
    """
    line = ' '.join(map(str, command))
    print(f'[{name}] python {line}', flush=True)
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None  # because of PIPE
    with log.open('w') as file:
        for output in process.stdout:
            file.write(output)
            if 'Epoch(' in output:
                print(
                    f'[{name}] {output[output.index("Epoch(") :].rstrip()}',
                    flush=True,
                )
    if process.wait():
        tail = ''.join(log.read_text().splitlines(keepends=True)[-15:])
        # Printed here, since a parallel run may take minutes to end.
        print(f'python {line} failed; the end of {log}:\n{tail}', flush=True)
        sys.exit(1)


def cfg_options(options: Dict[str, object]) -> List[str]:
    """Return the options as command line arguments."""
    words = [f'{key}={value}' for key, value in options.items()]
    return ['--cfg-options', *words] if words else []


def train_and_test(run: Run) -> dict:
    """Train and test a model, unless the results exist."""
    config, folder = MODELS[run.model], run.folder
    text = load_config(config, run.options).pretty_text
    done = folder / 'result.json'
    if done.is_file():
        result = json.loads(done.read_text())
        if result['config'] == text:
            print(f'[{run.name}] already complete: {folder}', flush=True)
            return result
    folder.mkdir(parents=True, exist_ok=True)
    options = cfg_options(run.options)
    start = time.perf_counter()
    call(
        run.name,
        folder / 'train.txt',
        'tools/train.py',
        config,
        '--work-dir',
        folder,
        '--seed',
        run.seed,
        *options,
    )
    trained = time.perf_counter()
    checkpoint = (folder / 'last_checkpoint').read_text()
    call(
        run.name,
        folder / 'test.txt',
        'tools/test.py',
        config,
        checkpoint,
        '--work-dir',
        folder / 'test',
        *options,
    )
    result = dict(
        config=text,
        checkpoint=os.path.relpath(checkpoint),
        train_seconds=trained - start,
        test_seconds=time.perf_counter() - trained,
        **newest_metrics(folder / 'test'),
    )
    done.write_text(json.dumps(result, indent=2))
    return result


def newest_metrics(folder: Path) -> dict:
    """Read the metrics that tools/test.py wrote last."""
    files = sorted(folder.glob('*/*.json'), key=lambda f: f.stat().st_mtime)
    return json.loads(files[-1].read_text())


def run_on_video(tool: str, result: dict, video: Path, out: Path) -> None:
    """Run a tool with a trained model on a video of the test set."""
    command = [
        tool,
        video,
        '--config',
        MODELS[SHOWN],
        '--checkpoint',
        result['checkpoint'],
        '--out-dir',
        out,
    ]
    print('python', *command, flush=True)
    subprocess.run([sys.executable, *map(str, command)], check=True)


def print_results(runs: List[Run], results: List[dict]) -> None:
    """Print a table of all runs."""
    table = Table(
        title='Camera motion, top-1 by speed: 8 classes, chance 0.125'
    )
    for column in (
        'model',
        'seed',
        *ACCURACIES,
        'training',
        'test',
        'checkpoint',
    ):
        table.add_column(column, overflow='fold')
    for run, result in zip(runs, results):
        table.add_row(
            run.model,
            str(run.seed),
            *accuracies([result]),
            f'{result["train_seconds"]:.0f} s',
            f'{result["test_seconds"]:.0f} s',
            result['checkpoint'],
        )
    for model in MODELS:
        own = [r for run, r in zip(runs, results) if run.model == model]
        if len(own) > 1:
            table.add_row(model, 'mean', *accuracies(own))
    Console(width=max(100, Console().width)).print(table)


def accuracies(results: List[dict]) -> List[str]:
    """Return the mean accuracies of runs, as cells of the table."""
    return [
        f'{mean(result[key] for result in results):.3f}'
        for key in ACCURACIES.values()
    ]


def main() -> None:
    """Run all steps."""
    args = parse_args()
    options = FAST if args.fast else {}
    root = Path('work_dirs') / (
        'quickstart_fast' if args.fast else 'quickstart'
    )
    data = make_data(options)
    runs = [
        Run(
            model,
            seed,
            root / f'{model.replace(" ", "_")}_seed{seed}',
            options,
        )
        for seed in args.seeds
        for model in MODELS
    ]
    with ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(train_and_test, runs))
    shown = next(i for i, run in enumerate(runs) if run.model == SHOWN)
    video = data / 'val' / '00000.mp4'
    trained = results[shown]
    run_on_video('tools/predict.py', trained, video, root / 'prediction')
    run_on_video('tools/visualize.py', trained, video, root / 'routes')
    print_results(runs, results)
    print(f'videos: {data}\nlogs, checkpoints, prediction, routes: {root}')


if __name__ == '__main__':
    main()
