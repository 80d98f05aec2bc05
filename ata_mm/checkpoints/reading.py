# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Read the tensors of a checkpoint, and nothing that could run code."""
import re
from pickle import UnpicklingError
from typing import Optional, Union
from urllib.error import URLError

import torch
from mmengine.runner.checkpoint import _load_checkpoint

from .layout import StateDict

_CONTAINERS = ('state_dict', 'model_state', 'model')


def read_state_dict(source: Union[str, dict]) -> StateDict:
    """A state_dict from a path, URL, checkpoint or state_dict.

    Files that end in ``.safetensors`` need the package of that name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If no tensors are found, or as :func:`read_checkpoint`.
    """
    if isinstance(source, (str, bytes)) or hasattr(source, '__fspath__'):
        source = read_checkpoint(str(source))
    for key in _CONTAINERS:
        if isinstance(source.get(key), dict):
            source = source[key]
    if not source or not all(torch.is_tensor(v) for v in source.values()):
        raise ValueError(
            'Expected a state_dict of tensors, or a checkpoint that has one '
            "under 'state_dict', 'model_state' or 'model', got the keys "
            f'{list(source)[:8]}.')
    return source


def read_checkpoint(path: str, logger: Optional[str] = None) -> dict:
    """All that a checkpoint holds, on the CPU.

    Args:
        path (str): A file or an address, as mmengine takes them.
        logger (str, optional): mmengine's logger; 'silent' for none. Defaults
            to None, the present one.

    Raises:
        FileNotFoundError: If there is no such file.
        URLError: If the address does not answer.
        ValueError: If the file is broken or none of torch, or holds objects
            that cannot be read safely.
    """
    if path.endswith('.safetensors'):
        return _read_safetensors(path)
    try:
        return _load_checkpoint(path, map_location='cpu', logger=logger)
    except (FileNotFoundError, URLError):
        raise
    except Exception as error:  # torch has many for a broken file
        refused = re.search(r'GLOBAL (\S+)', str(error))
        if isinstance(error, UnpicklingError) and refused:
            raise ValueError(
                f'Expected a checkpoint of tensors and plain values in {path},'
                ' got what torch.load(FILE, weights_only=True) refuses: '
                f'{refused[1]}. If you trust the file, read it once with '
                'weights_only=False and save its state_dict alone.') from error
        raise ValueError(
            f'{path} cannot be read as a checkpoint of torch '
            f'({type(error).__name__}: {error}). Is it whole?') from error


def _read_safetensors(path: str) -> StateDict:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ValueError(
            f'Expected the package safetensors, to read {path}, and it is not '
            'installed. Run pip install safetensors.') from error
    return load_file(path)
