# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Read the tensors of a checkpoint, and nothing that could run code."""
import re
from pickle import UnpicklingError
from typing import Union

import torch
from mmengine.runner.checkpoint import _load_checkpoint

from .layout import StateDict

_CONTAINERS = ('state_dict', 'model_state', 'model')


def read_state_dict(source: Union[str, dict]) -> StateDict:
    """A state_dict from a path, URL, checkpoint or state_dict.

    Files that end in ``.safetensors`` need the package of that name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If no tensors are found, or the file holds objects that
            cannot be read safely.
    """
    if isinstance(source, (str, bytes)) or hasattr(source, '__fspath__'):
        source = _read_file(str(source))
    for key in _CONTAINERS:
        if isinstance(source.get(key), dict):
            source = source[key]
    if not source or not all(torch.is_tensor(v) for v in source.values()):
        raise ValueError(
            'Expected a state_dict of tensors, or a checkpoint that has one '
            "under 'state_dict', 'model_state' or 'model', got the keys "
            f'{list(source)[:8]}.')
    return source


def _read_file(path: str) -> dict:
    if path.endswith('.safetensors'):
        return _read_safetensors(path)
    try:
        return _load_checkpoint(path, map_location='cpu')
    except UnpicklingError as error:
        raise ValueError(
            f'Expected a checkpoint of tensors and plain values in {path}, '
            'got what torch.load(FILE, weights_only=True) refuses: '
            f'{_refused(error)}. If you trust the file, read it once with '
            'weights_only=False and save its state_dict alone.') from error


def _refused(error: UnpicklingError) -> str:
    """The name of the class that torch refuses, where it says one."""
    name = re.search(r'GLOBAL (\S+)', str(error))
    return name[1] if name else str(error)


def _read_safetensors(path: str) -> StateDict:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ValueError(
            f'Expected the package safetensors, to read {path}, and it is not '
            'installed. Run pip install safetensors.') from error
    return load_file(path)
