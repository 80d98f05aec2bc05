# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Read a config file, and check the checkpoint and device of a model."""

import os.path as osp
from pathlib import Path
from typing import Optional, Union

import torch
from mmengine.config import Config


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
