# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Similarities of each patch to those in a window around its place."""
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = Tuple[int, int]

_PRODUCT = 4  # patches in the map for one in the window, measured


def window_offsets(radius: int,
                   device: Optional[torch.device] = None) -> Tensor:
    """Rows and columns from the centre of a window: (K, 2), int64, with
    K = (2 * radius + 1)^2, row by row."""
    steps = torch.arange(-radius, radius + 1, device=device)
    return torch.cartesian_prod(steps, steps)


def window_index(grid: Grid,
                 radius: int,
                 device: Optional[torch.device] = None) -> Tensor:
    """The patches in the window around each patch.

    Args:
        grid (tuple[int, int]): Height and width in patches.
        radius (int): Patches from the centre to the border of the window.
        device (torch.device, optional): Of the result. Defaults to None, the
            CPU.

    Returns:
        Tensor: int64 of shape (N, K), ascending in a row; -1 outside the grid.
    """
    rows, columns = (torch.arange(side, device=device) for side in grid)
    places = torch.cartesian_prod(rows, columns)  # (N, 2)
    near = places[:, None] + window_offsets(radius, device)  # (N, K, 2)
    inside = (near >= 0) & (near < near.new_tensor(grid))
    index = near[..., 0] * grid[1] + near[..., 1]
    return index.where(inside.all(-1), index.new_tensor(-1))


def gather_window(similarity: Tensor, grid: Grid, radius: int) -> Tensor:
    """Windows of similarities that are at hand.

    Args:
        similarity (Tensor): (P, N, N).
        grid (tuple[int, int]): Height and width in patches.
        radius (int): Patches from the centre to the border of the window.

    Returns:
        Tensor: (P, N, K); -inf outside the grid.
    """
    index = window_index(grid, radius, similarity.device)
    taken = similarity.gather(
        2,
        index.clamp_min(0).expand(len(similarity), -1, -1))
    return taken.masked_fill(index < 0, float('-inf'))


def correlate_window(source: Tensor, target: Tensor, grid: Grid,
                     radius: int) -> Tensor:
    """Windows of similarities from features, differentiable.

    O(N K C), without a matrix of N x N, but for small maps: there one product
    of matrices takes less time than K sums of shifted maps.

    Args:
        source (Tensor): (P, N, C), of unit length.
        target (Tensor): (P, N, C), of unit length.
        grid (tuple[int, int]): Height and width in patches.
        radius (int): Patches from the centre to the border of the window.

    Returns:
        Tensor: (P, N, K); -inf outside the grid.
    """
    if source.shape[1] <= _PRODUCT * (2 * radius + 1)**2:
        return gather_window(source @ target.transpose(1, 2), grid, radius)
    height, width = grid
    source = source.unflatten(1, grid)
    # Views of one padded map: no copy of the features for each of K shifts.
    padded = F.pad(target.unflatten(1, grid), (0, 0) + 4 * (radius, ))
    similarity = torch.stack(
        [(source * padded[:, row:row + height, column:column + width]).sum(-1)
         for row in range(2 * radius + 1)
         for column in range(2 * radius + 1)], -1)  # (P, H, W, K)
    outside = window_index(grid, radius, source.device) < 0
    return similarity.flatten(1, 2).masked_fill(outside, float('-inf'))
