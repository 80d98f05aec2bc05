# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Prepare and run the runner of tools/train.py and tools/test.py."""

import argparse
import gc
import logging
import os
import os.path as osp
from collections.abc import Callable, Sequence

import torch.distributed as torch_dist
from mmaction.registry import RUNNERS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.runner import Runner

from ata_mm.apis.preprocessing import expected_statistics, preprocessing_fault
from ata_mm.compat import cpu_distributed
from ata_mm.datasets.checks import check_config
from ata_mm.video.pipeline import type_name

from .arguments import make_folder
from .errors import is_full_disk

DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# Least values of integers that parts of a config may have.
_LEAST = {
    **dict.fromkeys(DATALOADERS, dict(num_workers=0, batch_size=1)),
    'train_cfg': dict(max_epochs=1, max_iters=1, val_interval=1),
}


def prepare(
    cfg: Config, args: argparse.Namespace, loaders: Sequence[str]
) -> None:
    """Validate and complete a config before its run.

    Args:
        cfg (Config): A config with the tool's own options already applied,
            changed in place.
        args (Namespace): Options of
            :func:`~ata_mm.cli.arguments.add_run_options`.
        loaders (Sequence[str]): Data loaders of the run, of ``'train'``,
            ``'val'`` and ``'test'``.

    Raises:
        FileNotFoundError, ValueError: If annotation files are missing or
            invalid, a number is too small, the work directory cannot be
            written to, or this machine does not support the launcher.
    """
    check_launcher(args.launcher)
    set_work_dir(cfg, args.work_dir)
    check_numbers(cfg)
    fit_workers(cfg)
    guard_videos(cfg)
    check_config(cfg, loaders)
    warn_of_preprocessing(
        cfg, cfg.get('load_from') if 'train' in loaders else ''
    )
    make_folder(cfg.work_dir, 'the work directory')
    cfg.launcher = args.launcher
    # torchrun sets LOCAL_RANK; torch.distributed.launch passed an option.
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cpu_distributed.apply(cfg)


def check_launcher(launcher: str) -> None:
    """Raise if a process was not started by the launcher that it names.

    Args:
        launcher (str): ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Raises:
        ValueError: If variables of torchrun are missing.
    """
    names = ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
    missing = [name for name in names if name not in os.environ]
    if launcher == 'pytorch' and missing:
        raise ValueError(
            'Expected a start by torchrun for --launcher pytorch, such as '
            'tools/dist_train.sh CONFIG 8, got no environment variable '
            f'{", ".join(missing)}.'
        )


def warn_of_preprocessing(cfg: Config, weights: str | None = None) -> None:
    """Log a warning if pixels are not normalised as the weights expect.

    Args:
        cfg (Config): Config of a recognizer.
        weights (str, optional): Path or URL of the published weights that it
            starts from. Defaults to None, those of its backbone.
    """
    fault = preprocessing_fault(cfg, expected_statistics(cfg, weights))
    if fault:
        print_log(fault, logger='current', level=logging.WARNING)


def set_work_dir(cfg: Config, work_dir: str | None = None) -> None:
    """Set the directory of logs and checkpoints.

    Args:
        cfg (Config): A config read from a file, changed in place.
        work_dir (str, optional): The directory. Defaults to None, the
            config's own ``work_dir`` or else ``work_dirs/<config name>``.
    """
    name = osp.splitext(osp.basename(cfg.filename))[0]
    cfg.work_dir = (
        work_dir or cfg.get('work_dir') or osp.join('work_dirs', name)
    )


def check_numbers(cfg: Config) -> None:
    """Raise if a number of the loaders or the loop is no count.

    Args:
        cfg (Config): The config.

    Raises:
        ValueError: If it is not an integer, or too small to do anything.
    """
    for part, numbers in _LEAST.items():
        for key, least in numbers.items():
            value = (cfg.get(part) or {}).get(key)
            if value is not None and not (
                isinstance(value, int) and value >= least
            ):
                raise ValueError(
                    f'Expected an integer of at least {least} for '
                    f'{part}.{key}, got {value!r}.'
                )


def check_precision(cfg: Config) -> None:
    """Raise if this machine does not support mixed precision training.

    Args:
        cfg (Config): A training config.

    Raises:
        ValueError: If the config trains in mixed precision without a GPU.
            mmengine's ``AmpOptimWrapper`` refuses the CPU, even for bfloat16.
    """
    wrapper = type_name(cfg.optim_wrapper.get('type', 'OptimWrapper'))
    if wrapper == 'AmpOptimWrapper' and get_device() in ('cpu', 'mps'):
        raise ValueError(
            'Expected a CUDA device for mixed precision training, got '
            f'{get_device()!r}. On this machine, train without --amp; if the '
            "config sets mixed precision, use type='OptimWrapper' in its "
            'optim_wrapper, without loss_scale and dtype.'
        )


def fit_workers(cfg: Config) -> None:
    """Remove the options of worker processes from loaders without workers.

    ``num_workers=0`` is then sufficient to load data in the main process;
    PyTorch refuses it together with ``persistent_workers=True`` or a
    ``prefetch_factor``.

    Args:
        cfg (Config): A config, changed in place.
    """
    loaders = [cfg[name] for name in DATALOADERS if cfg.get(name)]
    for loader in loaders:
        if loader.get('num_workers', 0) == 0:
            loader.persistent_workers = False
            loader.pop('prefetch_factor', None)


def guard_videos(cfg: Config) -> None:
    """Add the hook for bad videos to a config without it.

    Args:
        cfg (Config): A config, changed in place.
    """
    hooks = list(cfg.get('custom_hooks') or [])
    names = [type_name(hook['type']) for hook in hooks]
    if 'BadVideoHook' not in names:
        cfg.custom_hooks = [*hooks, dict(type='BadVideoHook')]


def run(cfg: Config, task: Callable[[Runner], object]) -> None:
    """Build the runner of a config, run a task, and end the process group.

    Args:
        cfg (Config): A config completed by :func:`prepare`. Its
            ``runner_type`` names the runner, by default
            :class:`~ata_mm.engine.ResumableRunner`.
        task (Callable): Called with the runner. It must not keep the runner or
            parts of it, see :func:`destroy_process_group`.
    """
    cfg.setdefault('runner_type', 'ResumableRunner')
    try:
        task(RUNNERS.build(cfg))
    except OSError as error:
        if not is_full_disk(error):
            raise
        # Logs of mmengine are written without the name of the file.
        file = '' if error.filename else f': a file in {cfg.work_dir}'
        raise OSError(
            f'{error}{file}. Files saved before are whole. Make room and '
            'start again; a training goes on with --resume.'
        ) from error
    destroy_process_group()


def destroy_process_group() -> None:
    """Destroy the process group of this run, if any, with its threads.

    The worker threads of gloo end with the group, and the group with its last
    owner, which may be the model of a runner. Therefore no variable may refer
    to a runner any more. A thread that still has to release a tensor when the
    interpreter exits would abort the process, although its run has succeeded.

    Upstream: https://github.com/pytorch/pytorch/pull/179291
    """
    if torch_dist.is_initialized():
        # Collect first: the last owner joins the threads, and only the Python
        # object of the group releases the interpreter lock while it does.
        gc.collect()
        torch_dist.destroy_process_group()
