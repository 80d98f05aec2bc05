# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Read a config file and complete it for this machine.

Every function checks or changes one thing; :mod:`ata_mm.cli.launch` calls
them in order.
"""
import os.path as osp
from pathlib import Path
from typing import Optional, Union

from mmaction.utils import get_str_type
from mmengine.config import Config
from mmengine.device import get_device

DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def load_config(path: Union[str, Path],
                options: Optional[dict] = None) -> Config:
    """Read a config file, with the options of the command line merged in.

    Args:
        path (str | Path): The config file.
        options (dict, optional): Dotted keys and their values, as
            ``--cfg-options`` gives them. Defaults to None.

    Returns:
        Config: The config; its ``default_scope`` is ``'mmaction'`` where the
        file names none.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'config {path} is not a file; expected the path of a config '
            'such as configs/ata_vit_k400.py')
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    cfg.setdefault('default_scope', 'mmaction')
    return cfg


def set_work_dir(cfg: Config, work_dir: Optional[str] = None) -> None:
    """Choose where logs and checkpoints go.

    Args:
        cfg (Config): A config read from a file, changed in place.
        work_dir (str, optional): The directory. Defaults to the config's own
            ``work_dir``, and without one to ``work_dirs/<config name>``.
    """
    name = osp.splitext(osp.basename(cfg.filename))[0]
    cfg.work_dir = (
        work_dir or cfg.get('work_dir') or osp.join('work_dirs', name))


def check_checkpoint(path: str) -> None:
    """Check that a local checkpoint exists; a URL is left to mmengine.

    Args:
        path (str): A file, or an address such as ``https://…``.

    Raises:
        FileNotFoundError: If it is meant to be a file and is none.
    """
    if '://' not in path and not osp.isfile(osp.expanduser(path)):
        raise FileNotFoundError(
            f'checkpoint {path} is not a file; expected a .pth file or a URL')


def check_precision(cfg: Config) -> None:
    """Check that mixed precision training is possible on this machine.

    Args:
        cfg (Config): A training config.

    Raises:
        ValueError: If the config trains in mixed precision and there is no
            device for it. mmengine's ``AmpOptimWrapper`` takes no CPU, not
            even for bfloat16.
    """
    wrapper = get_str_type(cfg.optim_wrapper.get('type', 'OptimWrapper'))
    if wrapper == 'AmpOptimWrapper' and get_device() in ('cpu', 'mps'):
        raise ValueError(
            'mixed precision training needs a CUDA device and this machine '
            f'offers {get_device()!r}; train without --amp, or with '
            "--cfg-options optim_wrapper.type=OptimWrapper where the config "
            'asks for it')


def fit_workers(cfg: Config) -> None:
    """Drop the options of worker processes where a loader has no workers.

    ``num_workers=0`` alone then loads data in the main process; PyTorch
    refuses it together with ``persistent_workers=True`` or a
    ``prefetch_factor``.

    Args:
        cfg (Config): A config, changed in place.
    """
    loaders = [cfg[name] for name in DATALOADERS if cfg.get(name)]
    for loader in loaders:
        if loader.get('num_workers', 0) == 0:
            loader.persistent_workers = False
            loader.pop('prefetch_factor', None)
