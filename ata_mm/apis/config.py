# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Read a config file and complete it for this machine.

Each function checks or changes one setting; :mod:`ata_mm.cli.launch` calls
them in order.
"""

import os.path as osp
from pathlib import Path
from typing import Optional, Union

import torch
from mmaction.utils import get_str_type
from mmengine.config import Config
from mmengine.device import get_device

DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def load_config(
    path: Union[str, Path], options: Optional[dict] = None
) -> Config:
    """Read a config file and merge command line options into it.

    Args:
        path (str | Path): The config file.
        options (dict, optional): Values by dotted key, as from
            ``--cfg-options``. Defaults to None.

    Returns:
        Config: The config; its ``default_scope`` is ``'mmaction'`` unless the
        file sets one.

    Raises:
        FileNotFoundError: If the file does not exist.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'Expected the path of a config such as configs/ata_vit_k400.py, '
            f'but config {path} is not a file.'
        )
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    cfg.setdefault('default_scope', 'mmaction')
    return cfg


def set_work_dir(cfg: Config, work_dir: Optional[str] = None) -> None:
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


def check_checkpoint(path: str) -> None:
    """Raise if a local checkpoint does not exist.

    URLs are not checked; mmengine downloads them.

    Args:
        path (str): A file, or an address such as ``https://…``.

    Raises:
        FileNotFoundError: If the path is local and not a file.
    """
    if '://' not in path and not osp.isfile(osp.expanduser(path)):
        raise FileNotFoundError(
            'Expected a .pth file or a URL, but '
            f'checkpoint {path} is not a file.'
        )


def check_precision(cfg: Config) -> None:
    """Raise if this machine does not support mixed precision training.

    Args:
        cfg (Config): A training config.

    Raises:
        ValueError: If the config trains in mixed precision without a GPU.
            mmengine's ``AmpOptimWrapper`` refuses the CPU, even for bfloat16.
    """
    wrapper = get_str_type(cfg.optim_wrapper.get('type', 'OptimWrapper'))
    if wrapper == 'AmpOptimWrapper' and get_device() in ('cpu', 'mps'):
        raise ValueError(
            'Expected a CUDA device for mixed precision training, got '
            f'{get_device()!r}. On this machine, train without --amp, or with '
            '--cfg-options optim_wrapper.type=OptimWrapper if the config '
            'sets mixed precision.'
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


def use_device(name: str) -> torch.device:
    """Parse the name of a device and check that it is available.

    Args:
        name (str): Such as 'cpu', 'cuda' or 'cuda:1'.

    Returns:
        torch.device: The device.

    Raises:
        ValueError: If the name is not that of a device, or of a GPU that
            torch does not find.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(
            "Expected a device such as 'cpu', 'cuda' or "
            f"'cuda:1', got {name!r}."
        ) from None
    count = torch.cuda.device_count()
    if device.type == 'cuda' and (device.index or 0) >= count:
        raise ValueError(
            f'Expected an available device, got {name!r}, but '
            f"torch finds {count} GPUs. Use 'cpu', or install a "
            'torch built for the GPU of this machine.'
        )
    return device
