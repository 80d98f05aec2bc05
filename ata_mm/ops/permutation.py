# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Permutations of patches, as index tensors of shape (..., N).

A permutation ``p`` maps i to ``p[..., i]``. It represents the rearrangement
matrix R of Eq. 4 by N indices instead of N^2 entries, of which N are 1.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import kernels
from .validation import check


def identity(*shape: int, device: torch.device | None = None) -> Tensor:
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
        Tensor: int64 of shape (..., N). On a GPU, where a check would have to
        wait for the device, -1 where an index in 0..N-1 is missing, from which
        :func:`permute` makes NaN.

    Raises:
        ValueError: If one is missing, repeated or out of range, on the CPU.
    """
    if kernels.use_kernels(permutation):
        return kernels.invert_permutation(permutation)
    num = permutation.shape[-1]
    order = identity(*permutation.shape, device=permutation.device)
    # Without the other dimensions, which may be symbolic while tracing.
    message = (
        f'Expected permutations of 0..{num - 1} along the last dimension, but '
        'an index is repeated, missing or out of range. Does the matcher '
        'assign every patch of a frame to a different patch of the next one?'
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
        second (Tensor): (..., N), applied last.
        first (Tensor): int64 of shape (..., N), applied first. Indices out of
            range, of a matcher that is wrong, are clamped: they would fault
            on a GPU.

    Returns:
        Tensor: int64 of shape (..., N).
    """
    return second.gather(-1, first.clamp(0, second.shape[-1] - 1))


def complete(matching: Tensor, keep: Tensor) -> Tensor:
    """Match the other rows to the free columns, in order.

    Args:
        matching (Tensor): Columns of the rows, int64 of shape (B, N).
        keep (Tensor): Which of these matches to keep, bool of shape (B, N);
            their columns differ.

    Returns:
        Tensor: int64 permutations of shape (B, N).
    """
    num = matching.shape[1]
    taken = torch.zeros(matching.shape[0], num + 1, device=matching.device)
    taken = taken.scatter(1, matching.where(keep, num), 1.0)[:, :num]
    # The other rows and the free columns first, equally many, in their order.
    rows = keep.float().argsort(dim=1, stable=True)
    columns = taken.argsort(dim=1, stable=True)
    completed = torch.empty_like(matching).scatter(1, rows, columns)
    return matching.where(keep, completed)


def chain(matching: Tensor, anchors: Sequence[int] | None = None) -> Tensor:
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
    routes = [identity(batch, num, device=matching.device)]  # Sec. 3.3
    before = range(pairs) if anchors is None else anchors
    for anchor, pair in zip(before, matching.unbind(1)):
        routes.append(compose(pair, routes[anchor]))
    return torch.stack(routes, 1)


def chain_and_invert(
    matching: Tensor, anchors: Sequence[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Return the routes of :func:`chain` and their inverse.

    Args:
        matching (Tensor): See :func:`chain`.
        anchors (Sequence[int], optional): Likewise. Defaults to None.

    Returns:
        tuple[Tensor, Tensor]: Routes (B, T, N), and what :func:`invert`
        returns for them.

    Raises:
        ValueError: As :func:`invert`.
    """
    if kernels.use_kernels(matching) and not any(anchors or ()):
        return kernels.chain_matching(matching, follow=anchors is None)
    routes = chain(matching, anchors)
    return routes, invert(routes)


def permute(x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """Reorder the patches of frames: ``y[b, t, i] = x[b, t, order[b, t, i]]``.

    Args:
        x (Tensor): (B, T, N, C).
        order (Tensor): Permutations, int64 of shape (B, T, N).
        inverse (Tensor): Their inverse, by which the gradient returns.

    Returns:
        Tensor: (B, T, N, C), contiguous. On a GPU, NaN where an index is out
        of range.
    """
    return _Permute.apply(x, order, inverse)


class _Permute(torch.autograd.Function):
    """Gather in both directions.

    Autograd's own backward of a gather adds to zeros, since it cannot know
    that every patch is taken once.
    """

    generate_vmap_rule = True  # of torch.func

    @staticmethod
    def forward(x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        return _take(x, order)

    @staticmethod
    def setup_context(  # apart, for torch.func
        ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor
    ) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        order, inverse = ctx.saved_tensors
        return _Permute.apply(grad, inverse, order), None, None


def _take(x: Tensor, index: Tensor) -> Tensor:
    if kernels.use_kernels(x):
        return kernels.take_patches(x, index)
    # A flat row index is four times faster than a gather with an index
    # expanded over C.
    batch, frames, num = index.shape
    start = torch.arange(batch * frames, device=index.device) * num
    rows = (index + start.view(batch, frames, 1)).flatten()
    return x.reshape(-1, x.shape[-1]).index_select(0, rows).view(x.shape)
