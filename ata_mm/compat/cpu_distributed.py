# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Run mmengine's distributed training on a machine without an accelerator.

mmengine calls ``torch.cuda.set_device`` when it starts the process group, and
passes ``device_ids=[LOCAL_RANK]`` to DistributedDataParallel; both fail on a
CPU. An existing process group is used as it is.

Upstream: no known report; the calls are discussed in
https://github.com/open-mmlab/mmengine/pull/973
"""

import datetime

import torch.distributed as torch_dist
from mmengine.config import Config
from mmengine.device import get_device


def needed(cfg: Config) -> bool:
    """Return whether a run is distributed and has no accelerator."""
    return cfg.get('launcher', 'none') != 'none' and get_device() == 'cpu'


def apply(cfg: Config) -> None:
    """Start a gloo process group and configure the model wrapper for the CPU.

    Has no effect in a run of one process or with an accelerator. To be called
    before the runner is built.

    Args:
        cfg (Config): The config of the run, ``launcher`` included. Its
            ``model_wrapper_cfg`` is changed in place.

    Raises:
        ValueError: If the launcher is not ``'pytorch'``.
    """
    if not needed(cfg):
        return
    if cfg.launcher != 'pytorch':
        raise ValueError(
            "Expected the launcher 'pytorch' on a machine without an "
            f"accelerator, got '{cfg.launcher}'. Start the run with torchrun."
        )
    _init_process_group(cfg.get('env_cfg', {}).get('dist_cfg', {}))
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


def _init_process_group(dist_cfg: dict) -> None:
    if torch_dist.is_initialized():
        return
    timeout = dist_cfg.get('timeout')
    if timeout is not None:
        timeout = datetime.timedelta(seconds=timeout)
    torch_dist.init_process_group('gloo', timeout=timeout)
