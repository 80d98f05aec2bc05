# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Register the matchers of large maps as a torch operator.

As ``torch.ops.ata_mm.match_pairs``, a matching that reads values on the host,
or takes some hundred operations, is one node of a compiled or exported graph.
"""

import json
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from ..types import Grid
from .base import Matcher, Matching

_Kind = TypeVar('_Kind', bound=type[Matcher])

# Matcher classes by name, see :func:`register_matcher`.
_KINDS: dict[str, type[Matcher]] = {}

_LIBRARY = torch.library.Library('ata_mm', 'FRAGMENT')
_LIBRARY.define(
    'match_pairs(Tensor source, Tensor target, str matcher, int[]? grid, '
    'float? min_similarity, int support_radius) -> (Tensor, Tensor)'
)


def register_matcher(kind: _Kind) -> _Kind:
    """Decorate a matcher class whose matching is the operator in a graph."""
    _KINDS[kind.__name__] = kind
    return kind


def describe(matcher: Matcher) -> str:
    """Describe a matcher of a registered class by class and options.

    Args:
        matcher (Matcher): Not of a subclass, which may match otherwise.

    Returns:
        str: JSON, from which it can be built again in another process.
    """
    # By hand: torch.compile cannot trace json.dumps.
    options = [f', "{k}": {value!r}' for k, value in matcher.options().items()]
    return f'{{"type": "{type(matcher).__name__}"{"".join(options)}}}'


def match_pairs(
    matcher: Matcher,
    source: Tensor,
    target: Tensor,
    grid: Grid | None,
    min_similarity: float | None,
    support_radius: int,
) -> Matching:
    """Match frame pairs one to one by a matcher of a registered class.

    Args:
        matcher (Matcher): See :func:`describe`.
        source (Tensor): See `Matcher.match_pairs`, as for the others.
        target (Tensor): Likewise.
        grid (tuple[int, int], optional): Likewise.
        min_similarity (float, optional): Likewise.
        support_radius (int): Likewise.

    Returns:
        Matching: int64 permutations of shape (B, P, N).
    """
    matching, accepted = torch.ops.ata_mm.match_pairs(
        source.detach(),
        target.detach(),
        describe(matcher),
        grid,
        min_similarity,
        support_radius,
    )
    return Matching(matching, None if min_similarity is None else accepted)


@cache
def _build(text: str) -> Matcher:
    options = json.loads(text)
    return _KINDS[options.pop('type')](**options)


def _match_pairs(
    source: Tensor,
    target: Tensor,
    matcher: str,
    grid: list[int] | None,
    min_similarity: float | None,
    support_radius: int,
) -> tuple[Tensor, Tensor]:
    size = None if grid is None else (grid[0], grid[1])
    matching, accepted = _build(matcher).match_pairs(
        source, target, size, min_similarity, support_radius
    )
    if accepted is None:
        accepted = torch.ones_like(matching, dtype=torch.bool)
    return matching, accepted


def _match_pairs_fake(
    source: Tensor,
    target: Tensor,
    matcher: str,
    grid: list[int] | None,
    min_similarity: float | None,
    support_radius: int,
) -> tuple[Tensor, Tensor]:
    matching = target.new_empty(target.shape[:3], dtype=torch.int64)
    return matching, torch.empty_like(matching, dtype=torch.bool)


# On every device: those without a kernel of ours are solved on the CPU.
_LIBRARY.impl('match_pairs', _match_pairs, 'CompositeExplicitAutograd')
torch.library.register_fake(
    'ata_mm::match_pairs', _match_pairs_fake, lib=_LIBRARY
)
