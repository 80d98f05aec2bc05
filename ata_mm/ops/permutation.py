# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Permutations of patches, as index tensors of shape (..., N).

A permutation ``p`` maps i to ``p[..., i]``.
"""
import torch
from torch import Tensor

from .validation import check


def identity(*shape: int, device=None) -> Tensor:
    """Return identity permutations of shape ``shape`` = (..., N)."""
    return torch.arange(shape[-1], device=device).expand(shape)


def invert(permutation: Tensor) -> Tensor:
    """Invert permutations: ``invert(p)[p[i]] == i``.

    Args:
        permutation (Tensor): int64 of shape (..., N).

    Returns:
        Tensor: int64 of shape (..., N).

    Raises:
        ValueError: If an index in 0..N-1 is missing, repeated or out of range;
            see :func:`~ata_mm.ops.validation.check`.
    """
    num = permutation.shape[-1]
    order = identity(*permutation.shape, device=permutation.device)
    message = (
        f'Expected permutations of 0..{num - 1} along the last dimension of '
        f'a {tuple(permutation.shape)} tensor, but an index is repeated, '
        'missing or out of range. Does the matcher assign every patch of a '
        'frame to a different patch of the next one?')
    check(((permutation >= 0) & (permutation < num)).all(), message)
    inverse = order.contiguous().scatter(-1, permutation, order)
    check((inverse.gather(-1, permutation) == order).all(), message)
    return inverse


def compose(second: Tensor, first: Tensor) -> Tensor:
    """Compose permutations (..., N): i -> second[first[i]]."""
    return second.gather(-1, first)


def chain(matching: Tensor) -> Tensor:
    r"""Compose matchings of neighbouring frames to routes.

    .. math:: \sigma_0 = id, \quad \sigma_t = \pi_t \circ \sigma_{t-1}

    Args:
        matching (Tensor): The permutations ``pi_1 .. pi_{T-1}`` of the T-1
            frame pairs, int64 of shape (B, T-1, N).

    Returns:
        Tensor: Routes, int64 of shape (B, T, N): ``routes[b, t, i]`` is the
        patch of frame t on the route that starts at patch i of frame 0.
    """
    batch, _, num = matching.shape
    routes = [identity(batch, num, device=matching.device)]
    for pair in matching.unbind(1):
        routes.append(compose(pair, routes[-1]))
    return torch.stack(routes, dim=1)
