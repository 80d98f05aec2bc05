# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""From own videos to a tested model: ``python -m ata_mm finetune``."""

import argparse
import os.path as osp
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config

from ata_mm.apis.backbone_choice import Choice, Wanted, choose_backbone
from ata_mm.apis.config import check_checkpoint, load_config
from ata_mm.apis.finetune_config import Plan, write_config
from ata_mm.datasets.annotations import read_samples
from ata_mm.datasets.checks import annotation_files
from ata_mm.datasets.own_videos import SPLITS, TABLES, read_own_videos
from ata_mm.datasets.splits import split_videos, write_lists
from ata_mm.engine.resuming import last_checkpoint
from ata_mm.video.pipeline import type_name

from .arguments import FINETUNE_DEFAULTS, cfg_option_words, make_folder
from .console import hide_log, print_message, shorten_warnings
from .errors import user_errors
from .result_files import lock_file, newest_metrics
from .tables import markdown_table
from .tool_process import run_process, run_tool, start_server

# Lines of a log of mmengine: progress, and what needs attention.
_SHOWN = r'Epoch\(|- WARNING -|- ERROR -'
_COMMAND = 'python -m ata_mm finetune'


def finetune(args: argparse.Namespace) -> None:
    """Write a config, check the data, train, test, predict and draw routes.

    Args:
        args (Namespace): Options of
            :func:`~ata_mm.cli.arguments.add_finetune_options`.

    Raises:
        SystemExit: With status 130 after Ctrl-C.
    """
    with user_errors():
        folder = Path(args.work_dir or default_folder(args)).absolute()
    try:
        run_steps(args, folder)
    except KeyboardInterrupt:
        resumed = 'resumes' if begun(folder) else 'starts again'
        print_message(f'stopped by Ctrl-C; the same command {resumed}')
        sys.exit(128 + signal.SIGINT)


def run_steps(args: argparse.Namespace, folder: Path) -> None:
    """Run all steps.

    Args:
        args (Namespace): The options.
        folder (Path): Folder of the results.
    """
    start_server()
    shorten_warnings()
    steps = Steps()
    with user_errors():
        with steps.step('config'):
            config = prepare_config(args, folder)
        cfg = load_config(config, args.cfg_options)
    if args.dry_run:
        return
    with open(folder / 'lock', 'wb') as file:
        with user_errors():
            lock_file(file, str(folder))
        _train_and_use(args, folder, config, cfg, steps)


def _train_and_use(
    args: argparse.Namespace,
    folder: Path,
    config: Path,
    cfg: Config,
    steps: 'Steps',
) -> None:
    """Run the steps after that of the config."""
    options = cfg_option_words(args.cfg_options)
    if not begun(folder):
        with steps.step('check of the data'):
            run_tool(
                'check_dataset.py',
                config,
                *options,
                advice='Remove or replace what is named above, and run the '
                'same command again.',
            )
        with steps.step('cost'):
            run_process(print_cost, str(config), args.cfg_options)
    with steps.step('training'):
        resume = ['--resume'] if begun(folder) else []
        run_tool(
            'train.py',
            config,
            '--work-dir',
            folder / 'train',
            *resume,
            *options,
            shown=_SHOWN,
            log=folder / 'train.log',
        )
    checkpoint = best_checkpoint(folder / 'train')
    with steps.step('test'):
        run_tool(
            'test.py',
            config,
            checkpoint,
            '--work-dir',
            folder / 'test',
            *options,
            shown=_SHOWN,
            log=folder / 'test.log',
        )
    model = ['--config', config, '--checkpoint', checkpoint]
    video = first_video(cfg)
    with steps.step('prediction'):
        run_tool('predict.py', video, *model, *options)
    if follows_routes(cfg):
        with steps.step('routes'):
            run_tool(
                'visualize.py',
                video,
                *model,
                '--out-dir',
                folder / 'routes',
                *options,
            )
    print(f'\n{steps.table()}\n')
    print(f'config: {config}\ncheckpoint: {checkpoint}')
    for name, value in newest_metrics(folder / 'test').items():
        if name.startswith('acc/'):
            print(f'{name}: {value:.4f}')


class Steps:
    """Headings and times of the steps."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Print the heading of a step, and take its time.

        Args:
            name (str): Title.
        """
        print(f'\n== {name}', flush=True)
        start = time.perf_counter()
        yield
        self._seconds[name] = time.perf_counter() - start

    def table(self) -> str:
        """Return the times as a Markdown table."""
        rows = [[n, f'{seconds:.1f}'] for n, seconds in self._seconds.items()]
        return markdown_table(['step', 'seconds'], rows)


def default_folder(args: argparse.Namespace) -> Path:
    """Return the folder for the results on some data with a backbone."""
    data = Path(args.data[0]).resolve()
    name = data.name if data.is_dir() else data.stem
    return Path('work_dirs', f'{name}_{args.backbone.replace("/", "_")}')


def prepare_config(args: argparse.Namespace, folder: Path) -> Path:
    """Write the config and the lists, or use those of an earlier call.

    The config is written once. Lists are written until a training begins, but
    never over those of the user.

    Args:
        args (Namespace): The options.
        folder (Path): Folder of the results.

    Returns:
        Path: The config.

    Raises:
        FileNotFoundError, ValueError: If the data or options are invalid, or
            are not those that the config was written for.
    """
    config, command = folder / 'config.py', command_of(args)
    if begun(folder):
        if not config.is_file():
            raise FileNotFoundError(
                f'Expected {config}, by which the training in '
                f'{folder / "train"} has begun, but it does not exist. Copy '
                f'{folder / "train" / config.name} there to go on, or choose '
                'another --work-dir.'
            )
        check_command(config, command)
        print(f'{config}: kept, and the training goes on.')
        return config
    check_lists(args.data, folder)
    found = read_own_videos(args.data, folder)
    split = split_videos(found, args.val_share, args.seed)
    if config.is_file():
        check_command(config, command)
        classes = (folder / 'classes.txt').read_text(encoding='utf-8')
        if classes.split('\n')[:-1] != found.classes:
            raise ValueError(
                f'Expected the classes that {config} was written for, got '
                f'{", ".join(found.classes)}. Remove that file and the lists '
                'beside it to have them written again.'
            )
        listed = next(annotation_files(load_config(config), ['train'])).file
        delimiter = listed.delimiter if listed else None
        write_lists(found, split.videos, folder, delimiter)
        print(f'{config}: kept as it is. The lists beside it are new.')
        return config
    choice = choose(args, len(found.classes))
    make_folder(str(folder), '--work-dir')
    plan = Plan(
        command,
        choice,
        found,
        split,
        folder,
        write_lists(found, split.videos, folder),
        args.frames,
        args.batch_size,
        args.epochs or (10 if choice.pretrained else 30),
        args.seed,
    )
    text = write_config(plan)
    config.write_text(text, encoding='utf-8')
    print(f'{text}\nwritten: {config}')
    return config


def choose(args: argparse.Namespace, num_classes: int) -> Choice:
    """Choose the settings of the model."""
    if args.checkpoint and args.checkpoint.lower() != 'none':
        check_checkpoint(args.checkpoint)
    blocks = (args.cfg_options or {}).get('model.backbone.blocks')
    hide_log()
    wanted = Wanted(
        num_classes,
        args.frames,
        args.temporal,
        args.checkpoint,
        args.img_size,
        blocks,
    )
    return choose_backbone(args.backbone, wanted)


def command_of(args: argparse.Namespace) -> str:
    """Return the command with the options that a config depends on."""
    words = [*map(osp.abspath, args.data), '--backbone', args.backbone]
    for name, default in FINETUNE_DEFAULTS.items():
        value = getattr(args, name)
        if value != default:
            words += [f'--{name.replace("_", "-")}', str(value)]
    return f'{_COMMAND} {shlex.join(words)}'


def check_lists(data: Sequence[str], folder: Path) -> None:
    """Raise if the lists to write would replace those of the user.

    Args:
        data (Sequence[str]): The data, as in the command.
        folder (Path): Folder of the results.

    Raises:
        ValueError: If the data are lists in the folder, or lists are there
            and no config that they were written with.
    """
    files = [folder / f'{name}.txt' for name in (*SPLITS, 'classes')]
    own = {folder.resolve(), *(file.resolve() for file in files)}
    for path in data:
        is_list = osp.isfile(path) and not path.lower().endswith(TABLES)
        # The names of the classes are beside a link, not beside its target.
        places = {Path(path).resolve(), Path(path).absolute().parent.resolve()}
        if is_list and own & places:
            raise ValueError(
                f'Expected a --work-dir other than the folder of {path}, as '
                f'{", ".join(file.name for file in files)} are written there, '
                f'got {folder}. Choose another --work-dir.'
            )
    there = [str(file) for file in files if file.exists()]
    if there and not (folder / 'config.py').exists():
        raise ValueError(
            f'Expected a --work-dir without lists, which would be replaced, '
            f'got {", ".join(there)} and no config.py beside them. Choose '
            'another --work-dir, or remove them if an earlier call wrote them.'
        )


def check_command(config: Path, command: str) -> None:
    """Raise if a config was written by another command.

    Args:
        config (Path): The config; its first line is the command, unless the
            user has removed it.
        command (str): The command now.

    Raises:
        ValueError: If they differ.
    """
    first = config.read_text(encoding='utf-8').split('\n', 1)[0]
    first = first.removeprefix('# ')
    if first.startswith(_COMMAND) and first != command:
        advice = 'Edit the config instead, or choose another --work-dir.'
        if not begun(config.parent):
            advice += (
                ' To have the config written again, remove it and the lists '
                'beside it.'
            )
        raise ValueError(
            f'Expected the command that {config} was written by ({first}), '
            f'got {command}. {advice}'
        )


def begun(folder: Path) -> bool:
    """Return whether a training has saved a checkpoint."""
    return (folder / 'train' / 'last_checkpoint').is_file()


def best_checkpoint(folder: Path) -> Path:
    """Return the checkpoint of the best validation, else the last one."""
    last = Path(last_checkpoint(str(folder)))
    best = folder.glob(f'best_*{last.suffix}')
    return max(best, key=lambda file: file.stat().st_mtime, default=last)


def print_cost(config: str, options: dict | None) -> None:
    """Print the cost of a training."""
    from .dry_step import measure_step

    hide_log()
    with user_errors():
        print(measure_step(load_config(config, options)), flush=True)


def first_video(cfg: Config) -> str:
    """Return the first video of the test."""
    file = next(annotation_files(cfg, ['test'])).file
    assert file is not None  # of a VideoDataset
    samples, _ = read_samples(file)
    return samples[0].file_path


def follows_routes(cfg: Config) -> bool:
    """Return whether the model has routes to draw."""
    backbone = cfg.model.backbone
    temporal = backbone.get('temporal') or {}
    kind = type_name(temporal.get('type', 'ATA'))
    return kind == 'ATA' and backbone.get('num_frames') != 1
