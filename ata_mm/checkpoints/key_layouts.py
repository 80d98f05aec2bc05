# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Key layouts: how the parameters of one code base are named in ata_mm."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

StateDict = dict[str, Tensor]
Renames = tuple[tuple[str, str], ...]


class KeyLayout(NamedTuple):
    r"""Parameter names of one code base, mapped to those of ata_mm.

    ``marker`` is matched at the start of the original keys. The patterns of
    ``copies``, ``zeros``, ``keeps`` and ``drops`` are searched in the names of
    ata_mm, after renaming.

    Args:
        name (str): Name in reports and errors.
        marker (str): Pattern of a key that identifies the layout.
        renames (tuple[tuple[str, str]]): Pairs of a pattern and its
            replacement, applied in this order. Defaults to none.
        joins (tuple[tuple[str, tuple[str]]]): Parts of names of ata_mm, and
            the parts of the renamed keys whose tensors are concatenated along
            the first dimension. Defaults to none.
        copies (tuple[tuple[str, str]]): Replacements that turn the name of a
            missing parameter into that of the parameter to copy. Defaults to
            none.
        zeros (tuple[str]): Missing parameters that start at zero. Defaults to
            none.
        keeps (tuple[str]): Missing parameters that keep the initial values of
            the model. Defaults to none.
        drops (tuple[str]): Keys of the checkpoint that the model may lack.
            Defaults to none.
        names (str): Pattern of the parameters, in the names of ata_mm, that
            a model of the layout can have. Defaults to any.
        native (bool): Whether the layout is that of ata_mm itself. Its
            position embeddings are on the model's grid; elsewhere they are on
            a square grid, even if the number of tokens agrees. Defaults to
            False.
    """

    name: str
    marker: str
    renames: Renames = ()
    joins: tuple[tuple[str, tuple[str, ...]], ...] = ()
    copies: Renames = ()
    zeros: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    names: str = ''
    native: bool = False


def find_key_layout(
    keys: Iterable[str], layouts: Sequence[KeyLayout]
) -> KeyLayout:
    """Identify the layout of the keys of a backbone.

    Args:
        keys (Iterable[str]): Keys without prefixes and head, see
            :func:`~ata_mm.checkpoints.heads.split_head`.
        layouts (Sequence[KeyLayout]): Candidates.

    Returns:
        KeyLayout: The first candidate whose marker matches a key.

    Raises:
        ValueError: If no candidate matches.
    """
    for layout in layouts:
        if has_key(layout.marker, keys):
            return layout
    raise ValueError(
        'Expected a checkpoint in one of these layouts: '
        f'{", ".join(dict.fromkeys(layout.name for layout in layouts))}; got '
        f'keys that match none of them, such as {sorted(keys)[:8]}.'
    )


def has_key(marker: str, keys: Iterable[str]) -> bool:
    """Return whether a pattern matches the start of one of the keys."""
    return any(re.match(marker, key) for key in keys)


def any_match(patterns: Iterable[str], key: str) -> bool:
    """Return whether one of the patterns occurs anywhere in a key."""
    return any(re.search(pattern, key) for pattern in patterns)


def substitute(renames: Renames, key: str) -> str:
    """Apply renames to a key, in order."""
    for pattern, target in renames:
        key = re.sub(pattern, target, key)
    return key


def rename(state_dict: StateDict, layout: KeyLayout) -> StateDict:
    """Rename the keys of a backbone to those of ata_mm.

    Pure and idempotent: keys of ata_mm, and keys that no pattern matches, are
    unchanged.

    Args:
        state_dict (dict): Keys without prefixes and head.
        layout (KeyLayout): Their layout.

    Returns:
        dict: The same tensors under their new keys, some of them joined.
    """
    renamed = {substitute(layout.renames, k): v for k, v in state_dict.items()}
    for joint, parts in layout.joins:
        for key in [key for key in renamed if parts[0] in key]:
            keys = [key.replace(parts[0], part) for part in parts]
            if renamed.keys() >= set(keys):
                name = key.replace(parts[0], joint)
                renamed[name] = torch.cat([renamed.pop(k) for k in keys])
    return renamed
