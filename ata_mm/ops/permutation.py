# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Permutations of patches, as index tensors of shape (..., N).

A permutation ``p`` maps i to ``p[..., i]``. It represents the rearrangement
matrix R of Eq. 4 by N indices instead of N^2 entries, of which N are 1.
"""

from typing import Optional, Sequence

import torch
from torch import Tensor

from .validation import check


def identity(*shape: int, device: Optional[torch.device] = None) -> Tensor:
    """Return identity permutations.

    Args:
        shape (int): Shape of the result, (..., N).
        device (torch.device, optional): Of the result. Defaults to None, the
            CPU.

    Returns:
        Tensor: int64 of that shape, a view of N indices; not to be written to.
    """
    return torch.arange(shape[-1], device=device).expand(shape)


def invert(permutation: Tensor) -> Tensor:
    """Invert permutations: ``invert(p)[p[i]] == i``.

    The transpose of the rearrangement matrix (Eq. 7).

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
        'frame to a different patch of the next one?'
    )
    # Before scatter, whose own error would name neither N nor the matcher.
    check(((permutation >= 0) & (permutation < num)).all(), message)
    inverse = order.contiguous().scatter(-1, permutation, order)
    # A repeated index overwrites an entry and leaves another as it was: the
    # round trip reveals both in O(N), without sorting.
    check((inverse.gather(-1, permutation) == order).all(), message)
    return inverse


def compose(second: Tensor, first: Tensor) -> Tensor:
    """Compose permutations: i -> second[first[i]].

    Args:
        second (Tensor): int64 of shape (..., N), applied last.
        first (Tensor): int64 of shape (..., N), applied first.

    Returns:
        Tensor: int64 of shape (..., N).
    """
    return second.gather(-1, first)


def chain(matching: Tensor, anchors: Optional[Sequence[int]] = None) -> Tensor:
    r"""Compose the matchings of a clip to routes.

    .. math:: \sigma_0 = id, \quad \sigma_t = \pi_t \circ \sigma_{a(t)}

    Args:
        matching (Tensor): The permutations ``pi_1 .. pi_{T-1}`` from frame
            a(t) to frame t, int64 of shape (B, T-1, N).
        anchors (Sequence[int], optional): The frames a(1) .. a(T-1), each
            before its own frame. Defaults to None, the previous ones, t - 1.

    Returns:
        Tensor: Routes, int64 of shape (B, T, N): ``routes[b, t, i]`` is the
        patch of frame t on the route that starts at patch i of frame 0.
    """
    batch, pairs, num = matching.shape
    start = identity(batch, 1, num, device=matching.device)  # Sec. 3.3
    if anchors is not None:
        routes = [start[:, 0]]
        for anchor, pair in zip(anchors, matching.unbind(1)):
            routes.append(compose(pair, routes[anchor]) if anchor else pair)
        return torch.stack(routes, 1)
    # routes[:, t] leads from frame t - step, or from frame 0, to frame t.
    # Twice as far in each step: log2(T) launches instead of T - 1, which keep
    # the host of a GPU busy.
    chained, step = torch.cat([start, matching], 1), 1
    while step < pairs:
        chained[:, step + 1 :] = compose(
            chained[:, step + 1 :], chained[:, 1:-step]
        )
        step *= 2
    return chained
