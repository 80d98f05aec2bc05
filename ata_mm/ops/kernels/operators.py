# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Register the kernels as torch operators, for compiled graphs.

None of them has a gradient of its own, none reads a value on the host, and
none checks values: an index that is out of range reads no memory.
"""

import torch
from torch import Tensor

from ..lap.operator import HAS_TRITON

_LIBRARY = torch.library.Library('ata_mm', 'FRAGMENT')


def use_kernels(x: Tensor) -> bool:
    """Return whether the kernels replace the torch code for a tensor."""
    # Not on AMD, whose triton has other precisions of products.
    # `device`, not `is_cuda`: torch 2.6 cannot trace that in a backward pass.
    is_cuda = x.device.type == 'cuda'
    return HAS_TRITON and is_cuda and torch.version.hip is None


def pairwise_cosine(source: Tensor, target: Tensor) -> Tensor:
    """Compute the cosine similarities of all patches of frame pairs.

    See :func:`~ata_mm.ops.matching.similarity.pair_similarity`.

    Args:
        source (Tensor): (B, P, N, C) or (B, 1, N, C), of any floating-point
            dtype and any strides.
        target (Tensor): (B, P, N, C), likewise.

    Returns:
        Tensor: fp32 of shape (B, P, N, N).
    """
    return torch.ops.ata_mm.pairwise_cosine(source, target)


def chain_matching(matching: Tensor, follow: bool) -> tuple[Tensor, Tensor]:
    """Compose the matchings of a clip to routes, and invert them.

    Args:
        matching (Tensor): int64 of shape (B, T-1, N). Indices are clamped to
            0..N-1.
        follow (bool): Whether the matchings lead from the previous frame; if
            not, from frame 0.

    Returns:
        tuple[Tensor, Tensor]: Routes and their inverse, int64 of shape
        (B, T, N). The inverse is -1 at patches without a route.
    """
    return torch.ops.ata_mm.chain_matching(matching, follow)


def invert_permutation(permutation: Tensor) -> Tensor:
    """Invert permutations.

    Args:
        permutation (Tensor): int64 of shape (..., N).

    Returns:
        Tensor: int64 of shape (..., N); -1 where an index is missing.
    """
    return torch.ops.ata_mm.invert_permutation(permutation)


def take_patches(x: Tensor, index: Tensor) -> Tensor:
    """Gather patches: ``y[b, t, i] = x[b, t, index[b, t, i]]``.

    Args:
        x (Tensor): (B, T, N, C), of any dtype and any strides.
        index (Tensor): int64 of shape (B, T, N).

    Returns:
        Tensor: (B, T, N, C), contiguous. At an index out of range NaN, or 0 if
        x is not floating-point.
    """
    return torch.ops.ata_mm.take_patches(x, index)


def _pairwise_cosine(source: Tensor, target: Tensor) -> Tensor:
    from .similarity import pairwise_cosine

    return pairwise_cosine(source, target)


def _pairwise_cosine_fake(source: Tensor, target: Tensor) -> Tensor:
    shape = (*target.shape[:3], target.shape[2])
    return target.new_empty(shape, dtype=torch.float32)


def _chain_matching(matching: Tensor, follow: bool) -> tuple[Tensor, Tensor]:
    from .permutation import chain_matching

    return chain_matching(matching, follow)


def _chain_matching_fake(
    matching: Tensor, follow: bool
) -> tuple[Tensor, Tensor]:
    batch, pairs, num = matching.shape
    routes = matching.new_empty(batch, pairs + 1, num)
    return routes, torch.empty_like(routes)


def _invert_permutation(permutation: Tensor) -> Tensor:
    from .permutation import invert_permutation

    return invert_permutation(permutation)


def _invert_permutation_fake(permutation: Tensor) -> Tensor:
    return permutation.new_empty(permutation.shape)


def _take_patches(x: Tensor, index: Tensor) -> Tensor:
    from .permutation import take_patches

    return take_patches(x, index)


def _take_patches_fake(x: Tensor, index: Tensor) -> Tensor:
    return x.new_empty(x.shape)


for _schema, _launch, _fake in (
    (
        'pairwise_cosine(Tensor source, Tensor target) -> Tensor',
        _pairwise_cosine,
        _pairwise_cosine_fake,
    ),
    (
        'chain_matching(Tensor matching, bool follow) -> (Tensor, Tensor)',
        _chain_matching,
        _chain_matching_fake,
    ),
    (
        'invert_permutation(Tensor permutation) -> Tensor',
        _invert_permutation,
        _invert_permutation_fake,
    ),
    (
        'take_patches(Tensor x, Tensor index) -> Tensor',
        _take_patches,
        _take_patches_fake,
    ),
):
    _name = _schema.split('(')[0]
    _LIBRARY.define(_schema)
    # The CPU key serves triton's interpreter, in tests.
    for _key in ('CPU', 'CUDA'):
        _LIBRARY.impl(_name, _launch, _key)
    torch.library.register_fake(f'ata_mm::{_name}', _fake, lib=_LIBRARY)
