# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Run mmengine's distributed training on a machine without an accelerator.

mmengine calls ``torch.cuda.set_device`` while it starts the process group, and
hands ``device_ids=[LOCAL_RANK]`` to DistributedDataParallel; both fail on a
CPU. It leaves a process group that is already there alone.

Upstream: no report is known; the calls are discussed in
https://github.com/open-mmlab/mmengine/pull/973
"""
import datetime

import torch.distributed as torch_dist
from mmengine.config import Config
from mmengine.device import get_device


def needed(cfg: Config) -> bool:
    """Whether this run is distributed and has no accelerator."""
    return cfg.get('launcher', 'none') != 'none' and get_device() == 'cpu'


def apply(cfg: Config) -> None:
    """Start a gloo process group and fit the model wrapper to the CPU.

    Does nothing in a run of one process or with an accelerator. Call it before
    the runner is built.

    Args:
        cfg (Config): The config of the run, ``launcher`` included. Its
            ``model_wrapper_cfg`` is changed in place.

    Raises:
        ValueError: If the launcher is another one than ``'pytorch'``.
    """
    if not needed(cfg):
        return
    if cfg.launcher != 'pytorch':
        raise ValueError(
            "without an accelerator the launcher must be 'pytorch', but got "
            f"'{cfg.launcher}'; start the run with torchrun")
    _init_process_group(cfg.get('env_cfg', {}).get('dist_cfg', {}))
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False))
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


def _init_process_group(dist_cfg: dict) -> None:
    if torch_dist.is_initialized():
        return
    timeout = dist_cfg.get('timeout')
    if timeout is not None:
        timeout = datetime.timedelta(seconds=timeout)
    torch_dist.init_process_group('gloo', timeout=timeout)
