# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""From the options of tools/train.py and tools/test.py to a run."""
import argparse
import gc
import os
import sys
from contextlib import contextmanager
from typing import Callable, Iterator, Optional, Sequence

import torch.distributed as torch_dist
from mmaction.registry import RUNNERS
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from ata_mm.apis.config import fit_workers, set_work_dir
from ata_mm.compat import cpu_distributed
from ata_mm.datasets.annotations import check_config


def _assignment(text: str) -> str:
    """Check one word of ``--cfg-options``; DictAction splits it later."""
    if '=' not in text:
        raise argparse.ArgumentTypeError(f'expected KEY=VALUE, got {text!r}')
    return text


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options`` to a parser.

    Args:
        parser (ArgumentParser): The parser of a tool, changed in place.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        type=_assignment,
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of the config, for example '
        'train_dataloader.batch_size=4; a list is written as key="[a,b]" or '
        'key=a,b, without white space')


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing have in common.

    Args:
        parser (ArgumentParser): The parser of a tool, changed in place.
    """
    parser.add_argument(
        '--work-dir',
        help='where logs and results go (default: '
        "the config's work_dir, or work_dirs/<config name>)")
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes of a distributed job')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


@contextmanager
def user_errors() -> Iterator[None]:
    """End the program with one line where the user can mend the input.

    Only for what runs before training, testing or prediction starts: there
    a ValueError comes from a check of the user's input, and an OSError from a
    file or folder. Later ones keep their traceback.

    Raises:
        SystemExit: With the message, exit status 1.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        sys.exit(f'{os.path.basename(sys.argv[0])}: error: {error}')


def make_folder(path: Optional[str]) -> None:
    """Make the folder of ``--out-dir``, before any work, if one is asked for.

    Raises:
        ValueError: If that cannot be.
    """
    try:
        if path:
            os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise ValueError(f'--out-dir {path} cannot be a folder: '
                         f'{error.strerror}') from error


def prepare(cfg: Config, args: argparse.Namespace,
            loaders: Sequence[str]) -> None:
    """Check and complete a config before its run, and join its processes.

    Args:
        cfg (Config): A config with the tool's own options already applied,
            changed in place.
        args (Namespace): Values of :func:`add_run_options`.
        loaders (Sequence[str]): The data loaders that the run uses, of
            ``'train'``, ``'val'`` and ``'test'``.

    Raises:
        FileNotFoundError, ValueError: If the annotation files are missing or
            wrong, or the launcher is not one for this machine.
    """
    set_work_dir(cfg, args.work_dir)
    fit_workers(cfg)
    check_config(cfg, loaders)
    cfg.launcher = args.launcher
    # Launchers set LOCAL_RANK today; those of old pass it as an option.
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cpu_distributed.apply(cfg)


def run(cfg: Config, task: Callable[[Runner], object]) -> None:
    """Build the runner of a config, let it work, and end its processes' group.

    Args:
        cfg (Config): A config that :func:`prepare` has completed. Its
            ``runner_type``, if any, names the runner.
        task (Callable): What the runner is to do. It must not keep the runner
            or parts of it: see :func:`leave`.
    """
    build = RUNNERS.build if 'runner_type' in cfg else Runner.from_cfg
    task(build(cfg))
    leave()


def leave() -> None:
    """Leave the process group, if there is one, at the end of a run.

    The worker threads of gloo end with the group, and the group with its last
    owner, which may be the model of a runner. So no variable may hold a runner
    any more. A thread that were still to release a tensor when the interpreter
    ends would abort the process, though its run has succeeded.

    Upstream: https://github.com/pytorch/pytorch/pull/179291
    """
    if torch_dist.is_initialized():
        # Before the group is destroyed: whoever is its last owner waits for
        # the threads, and only the group's own Python object lets them have
        # the interpreter lock meanwhile.
        gc.collect()
        torch_dist.destroy_process_group()
