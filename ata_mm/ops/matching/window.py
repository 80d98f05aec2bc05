# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Similarities of each patch to the patches in a window around it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..types import Grid

# Patches of the map per patch of the window up to which one matrix product is
# faster than a sum of products for each offset; measured.
_PRODUCT_RATIO = 4


def window_offsets(radius: int, device: torch.device | None = None) -> Tensor:
    """Return the offsets of a window from its centre, row by row.

    Args:
        radius (int): Patches from the centre to the border of the window.
        device (torch.device, optional): Of the result. Defaults to None, the
            CPU.

    Returns:
        Tensor: Rows and columns, int64 of shape (K, 2) with
        K = (2 * radius + 1)^2.
    """
    steps = torch.arange(-radius, radius + 1, device=device)
    return torch.cartesian_prod(steps, steps)


def window_index(
    grid: Grid, radius: int, device: torch.device | None = None
) -> Tensor:
    """Return the patches in the window around each patch.

    Args:
        grid (tuple[int, int]): Height and width in patches.
        radius (int): Patches from the centre to the border of the window.
        device (torch.device, optional): Of the result. Defaults to None, the
            CPU.

    Returns:
        Tensor: int64 of shape (N, K), ascending in a row; -1 outside the grid.
    """
    # Recomputed in every call: N K integers take little time.
    height, width = grid
    patch = torch.arange(height * width, device=device)[:, None]
    row, column = (patch // width, patch % width)  # (N, 1)
    down, right = window_offsets(radius, device).T  # (K,)
    row, column = row + down, column + right  # (N, K)
    # Compared with numbers: a tensor of the grid would be copied to a GPU,
    # which synchronises it.
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return (row * width + column).masked_fill(~inside, -1)


def gather_window(similarity: Tensor, grid: Grid, radius: int) -> Tensor:
    """Select the windows of given similarities.

    Args:
        similarity (Tensor): (P, N, N).
        grid (tuple[int, int]): Height and width in patches.
        radius (int): Patches from the centre to the border of the window.

    Returns:
        Tensor: (P, N, K); -inf outside the grid.
    """
    index = window_index(grid, radius, similarity.device)
    # Any valid index serves outside the grid, where -inf replaces the value.
    taken = similarity.gather(
        2, index.clamp_min(0).expand(similarity.shape[0], -1, -1)
    )
    return taken.masked_fill(index < 0, float('-inf'))


def correlate_window(
    source: Tensor, target: Tensor, grid: Grid, radius: int
) -> Tensor:
    """Compute the similarities of windows from features, differentiably.

    O(N K C) time and no N x N matrix, except on small maps, where one matrix
    product is faster.

    Args:
        source (Tensor): Normalised features (P, N, C).
        target (Tensor): Normalised features (P, N, C).
        grid (tuple[int, int]): Height and width in patches.
        radius (int): Patches from the centre to the border of the window.

    Returns:
        Tensor: (P, N, K); -inf outside the grid.
    """
    if source.shape[1] <= _PRODUCT_RATIO * (2 * radius + 1) ** 2:
        return gather_window(source @ target.transpose(1, 2), grid, radius)
    height, width = grid
    source = source.unflatten(1, grid)
    # Views of one padded map: no copy of the features for each offset.
    padded = F.pad(target.unflatten(1, grid), (0, 0) + 4 * (radius,))
    similarity = torch.stack(
        [
            (
                source * padded[:, row : row + height, column : column + width]
            ).sum(-1)
            for row in range(2 * radius + 1)
            for column in range(2 * radius + 1)
        ],
        -1,
    )  # (P, H, W, K)
    # Padding has similarity 0, which could be the largest of a window.
    outside = window_index(grid, radius, source.device) < 0
    return similarity.flatten(1, 2).masked_fill(outside, float('-inf'))
