# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Read checkpoint files.

Reading runs no code from the file: only tensors and plain values are accepted.
"""

import os

import torch
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import Tensor

from .key_layouts import StateDict

Source = str | os.PathLike[str] | dict

# The last is DeepSpeed's.
_CONTAINERS = ('state_dict', 'model_state', 'model', 'module')


def read_checkpoint(path: str, logger: str | None = None) -> dict:
    """Read a checkpoint to the CPU.

    Args:
        path (str): A file, the folder of a HuggingFace model, or a URL, as
            mmengine accepts them. Also files of safetensors, which require
            the package of that name.
        logger (str, optional): Logger of mmengine; 'silent' for none. Defaults
            to None, the current one.

    Returns:
        dict: The whole content of the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        URLError: If the server does not respond.
        ValueError: If the file is damaged, not a checkpoint of torch, or holds
            objects that cannot be read safely. See
            :mod:`ata_mm.compat.checkpoint_files`.
    """
    return CheckpointLoader.load_checkpoint(path, 'cpu', logger)


def read_state_dict(source: Source) -> StateDict:
    """Return the state_dict of a path, URL, checkpoint or state_dict.

    Args:
        source (str | PathLike | dict): A path or URL, or a checkpoint or
            state_dict.

    Returns:
        dict: Tensors by key, as stored.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If no tensors are found, or as :func:`read_checkpoint`.
    """
    found = (
        read_checkpoint(os.fspath(source))
        if isinstance(source, (str, os.PathLike))
        else source
    )
    while (used := _container(found)) is not None:
        others = [
            key
            for key, value in found.items()
            if key != used and _is_state_dict(value)
        ]
        if others:  # moving averages, as timm and mmengine save them
            print_log(
                f'Weights of {used!r} are used, not those of '
                f'{", ".join(map(repr, others))}.',
                logger='current',
            )
        found = found[used]
    if not _is_state_dict(found):
        _check_values(found, name_of(source))
        raise ValueError(
            'Expected a state_dict of tensors, or a checkpoint that has one '
            f'under {", ".join(map(repr, _CONTAINERS))}, got '
            f'{name_of(source)} with the keys {list(found)[:8]}. If one of '
            'them holds the weights, save its value to a file of its own.'
        )
    unusable = [key for key in found if not _is_weight(key, found[key])]
    if unusable:
        raise ValueError(
            'Expected dense tensors with values, by names, in '
            f'{name_of(source)}, got quantized, sparse or meta tensors, or '
            f'keys that are no text, under {unusable[:3]}. Save the '
            'state_dict of the model in floating point.'
        )
    return found


def _is_weight(key: object, value: Tensor) -> bool:
    is_dense = value.layout == torch.strided and not value.is_quantized
    return isinstance(key, str) and is_dense and not value.is_meta


def _check_values(found: dict, name: object) -> None:
    """Raise if tensors are mixed with other values, and name these."""
    others = [k for k, value in found.items() if not torch.is_tensor(value)]
    if len(others) < len(found):
        raise ValueError(
            f'Expected tensors alone in the state_dict of {name}, got other '
            f'values under {", ".join(map(repr, others[:8]))}. Remove them, '
            "or save the state_dict under 'state_dict' beside them."
        )


def _container(checkpoint: dict) -> str | None:
    """Return the key of the weights, if they are not at the top level."""
    found = (k for k in _CONTAINERS if isinstance(checkpoint.get(k), dict))
    return next(found, None)


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, dict)
        and len(value) > 0
        and all(map(torch.is_tensor, value.values()))
    )


def check_finite_weights(state_dict: StateDict, source: object) -> None:
    """Raise if a state_dict holds NaN or infinity.

    Args:
        state_dict (dict): Tensors by key, on any device.
        source (object): The name of the checkpoint, for the message.

    Raises:
        ValueError: If a tensor does, with its key.
    """
    broken = [
        key
        for key, value in state_dict.items()
        if value.is_floating_point() and not _is_finite(value)
    ]
    if broken:
        raise ValueError(
            f'Expected finite weights in {source}, got NaN or infinity in '
            f'{len(broken)} of {len(state_dict)} tensors: {broken[:3]}. '
            'Training has diverged: use an earlier checkpoint.'
        )


def _is_finite(value: Tensor) -> bool:
    if value.element_size() == 1:  # of which torch has no isfinite
        value = value.float()
    return bool(value.isfinite().all())


def name_of(source: Source) -> object:
    """Return what to call a source in messages."""
    return 'a dict' if isinstance(source, dict) else source
