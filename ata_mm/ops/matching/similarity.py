# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Similarities of the patches of frame pairs (Alg. 1)."""

from itertools import product

import torch
from torch import Tensor

from .. import kernels
from ..norms import rescale
from ..tracing import is_tracing
from ..types import Grid
from ..validation import check_grid

# What a patch gains by staying in place, so that equal patches do: far below a
# difference of similarities that means anything, and above the rounding of
# fp32 for similarities near 1.
STAY = 1e-6


@torch.no_grad()
def neighbour_similarity(x: Tensor) -> Tensor:
    r"""Compute the cosine similarities of all patches of neighbouring frames.

    .. math:: S[t-1, i, j] = \frac{x_{t-1,i} \cdot x_{t,j}}
                                  {\|x_{t-1,i}\| \|x_{t,j}\|}

    Always in fp32, under any autocast: a matching compares sums of N nearly
    equal numbers. Outside autograd, as in Alg. 1 (Eq. 17).

    Args:
        x (Tensor): Patch features of shape (B, T, N, C).

    Returns:
        Tensor: fp32 similarities of shape (B, T-1, N, N), from -1 to 1; 0 for
        features of zeros, NaN for features of NaN or infinity.
    """
    return pair_similarity(x[:, :-1], x[:, 1:])


@torch.no_grad()
def pair_similarity(source: Tensor, target: Tensor) -> Tensor:
    """Compute the cosine similarities of all patches of frame pairs.

    As :func:`neighbour_similarity`, for any pairs of frames.

    Args:
        source (Tensor): Features of the first frames, (B, P, N, C), or
            (B, 1, N, C) if all pairs of a clip have the same one.
        target (Tensor): Features of the second frames, (B, P, N, C).

    Returns:
        Tensor: fp32 similarities of shape (B, P, N, N).
    """
    if kernels.use_kernels(target):
        return kernels.pairwise_cosine(source, target)
    source, rows = rescale(source.float())
    target, columns = rescale(target.float())
    return _products(source, target, rows, columns)


def favour_place(similarity: Tensor) -> Tensor:
    """Add 1e-6 to the cosine similarity of co-located patches, in place.

    Of equally good matchings, the optimum is then the one that moves fewer
    patches: equal patches, as of a plain wall or a black border, stay in
    place.

    Args:
        similarity (Tensor): (..., N, N).

    Returns:
        Tensor: The argument; a copy while torch.compile is tracing.
    """
    if is_tracing():  # exporters want no changes in place
        num = similarity.shape[-1]
        return similarity + STAY * torch.eye(num, device=similarity.device)
    similarity.diagonal(dim1=-2, dim2=-1).add_(STAY)
    return similarity


def _products(
    source: Tensor, target: Tensor, rows: Tensor, columns: Tensor
) -> Tensor:
    batch, pairs, num, _ = target.shape
    if is_tracing():  # the batch may be symbolic
        with torch.autocast(target.device.type, enabled=False):
            similarity = source @ target.transpose(2, 3)
            similarity = similarity * rows.reciprocal()[..., None]
            return similarity * columns.reciprocal()[:, :, None]
    similarity = target.new_empty(batch, pairs, num, num)
    with torch.autocast(target.device.type, enabled=False):
        # Normalising the product instead of the features saves a copy of the
        # features, which takes as long as the product itself. For the same
        # reason one product a clip: slices of a clip are views that bmm reads
        # as they are, whereas x[:, :-1] would be copied to flatten B and T.
        for first, second, out in zip(source, target, similarity):
            first = first.expand(pairs, -1, -1)
            torch.bmm(first, second.transpose(1, 2), out=out)
        similarity *= rows.reciprocal()[..., None]
        similarity *= columns.reciprocal()[:, :, None]
    return similarity


def compare(
    source: Tensor,
    target: Tensor,
    grid: Grid | None = None,
    support_radius: int = 0,
) -> Tensor:
    """Compute similarities of frame pairs, averaged over support windows.

    Args:
        source (Tensor): As in :func:`pair_similarity`.
        target (Tensor): Likewise.
        grid (tuple[int, int], optional): Height and width of the patch grid,
            needed by ``support_radius``. Defaults to None.
        support_radius (int): See :func:`aggregate`. Defaults to 0, no average.

    Returns:
        Tensor: fp32 of shape (B, P, N, N).

    Raises:
        ValueError: If ``support_radius`` is not 0 and the grid does not hold N
            patches.
    """
    similarity = pair_similarity(source, target)
    if not support_radius:
        return similarity
    grid = check_grid(
        grid, target.shape[2], f'support_radius={support_radius}'
    )
    return aggregate(similarity, grid, support_radius)


def aggregate(similarity: Tensor, grid: Grid, radius: int) -> Tensor:
    r"""Average similarities over a support window, as in stereo matching.

    .. math:: S'[i, j] = \frac{1}{(2r + 1)^2}
        \sum_{o \in [-r, r]^2} S[i + o, j + o]

    A patch of a plain wall resembles all others. With its neighbours it is
    found again: content moves together with what is beside it, as long as the
    displacement varies little within the window. Positions outside the grid
    are clamped to it: the outermost patches repeat. Not in the paper. O(r N^2)
    time for each pair.

    Args:
        similarity (Tensor): (..., N, N).
        grid (tuple[int, int]): Height and width of the patch grid.
        radius (int): Patches r from the centre to the border of the window.

    Returns:
        Tensor: (..., N, N).
    """
    maps = similarity.reshape(-1, *grid, *grid)
    # The window is a product of intervals: rows first, then columns.
    for dim in (1, 2):
        maps = _sum_shifted(maps, dim, dim + 2, radius)
    return maps.view(similarity.shape) / (2 * radius + 1) ** 2


def _sum_shifted(x: Tensor, first: int, second: int, radius: int) -> Tensor:
    """Sum x over common shifts of two dimensions of the same length."""
    length = x.shape[first]
    total = x.clone()
    # Sums of views. An index with clamped positions takes four times as long.
    for distance in range(1, radius + 1):
        shift = min(distance, length - 1)
        inner = length - shift
        # Destination, source and their sizes; the border patch repeats.
        forward = (0, shift, inner, inner), (inner, length - 1, shift, 1)
        backward = (shift, 0, inner, inner), (0, 0, shift, 1)
        for spans in (forward, backward):
            for row, column in product(spans, repeat=2):
                block = total.narrow(first, row[0], row[2])
                block = block.narrow(second, column[0], column[2])
                shifted = x.narrow(first, row[1], row[3])
                block += shifted.narrow(second, column[1], column[3])
    return total


def unfold_support(x: Tensor, grid: Grid, radius: int) -> Tensor:
    """Concatenate the features of the support window around each patch.

    Dot products of the result are those of x after :func:`aggregate`: for
    matchers that do not compute all N^2 similarities.

    Args:
        x (Tensor): Features (..., N, C), normalised.
        grid (tuple[int, int]): Height and width of the patch grid.
        radius (int): See :func:`aggregate`. With 0, x is returned.

    Returns:
        Tensor: (..., N, (2 * radius + 1)^2 * C).
    """
    if radius == 0:
        return x
    side = 2 * radius + 1
    rows, columns = (
        _clamped(length, radius, x.device).unfold(0, side, 1)
        for length in grid
    )  # (H, side), (W, side)
    index = rows[:, None, :, None] * grid[1] + columns[:, None]
    windows = x.index_select(-2, index.flatten())  # (..., N * side^2, C)
    return windows.reshape(*x.shape[:-1], side**2 * x.shape[-1]) / side


def _clamped(length: int, radius: int, device: torch.device) -> Tensor:
    """Return the positions from -radius on, clamped to 0..length-1."""
    positions = torch.arange(-radius, length + radius, device=device)
    return positions.clamp(0, length - 1)
