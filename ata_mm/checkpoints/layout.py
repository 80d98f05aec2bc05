# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What is to be known about the keys of a kind of checkpoint."""
import re
from typing import Dict, Iterable, NamedTuple, Tuple

from torch import Tensor

StateDict = Dict[str, Tensor]
Renames = Tuple[Tuple[str, str], ...]


class KeyLayout(NamedTuple):
    """How one code base names the parameters of one family of models.

    All patterns but ``marker`` and those in ``renames`` are looked for in our
    names.
    """
    name: str
    marker: str  # a key that matches tells the layout
    renames: Renames = ()  # from its names to ours, one after the other
    copies: Renames = ()  # a missing parameter starts as a copy of another
    zeros: Tuple[str, ...] = ()  # or at zero
    keeps: Tuple[str, ...] = ()  # or stays as the model has initialised it
    drops: Tuple[str, ...] = ()  # keys that need no place in the model


class Family(NamedTuple):
    """Models whose parameters we name alike."""
    marker: str  # one of their parameters
    layouts: Tuple[KeyLayout, ...]  # the first of which a key matches is taken


def any_match(patterns: Iterable[str], key: str) -> bool:
    """Whether a key matches one of the patterns anywhere."""
    return any(re.search(pattern, key) for pattern in patterns)


def substitute(renames: Renames, key: str) -> str:
    """Replace pattern after pattern in a key."""
    for pattern, target in renames:
        key = re.sub(pattern, target, key)
    return key


def rename(state_dict: StateDict, layout: KeyLayout) -> StateDict:
    """Give the keys of a backbone our names; other keys stay.

    A pure function, and idempotent: our names stay as well.
    """
    return {substitute(layout.renames, k): v for k, v in state_dict.items()}
