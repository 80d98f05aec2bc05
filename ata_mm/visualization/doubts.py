# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Steps of routes that are probably wrong, found without the truth."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ata_mm.ops import Alignment
from ata_mm.ops.types import Grid
from ata_mm.ops.validation import check_grid

# Of real patches that move, matched by gradients, a tenth or fewer of those
# below this share are right, and 84 % or more of the others.
_MIN_SHARE = 3 / 8


def doubtful_steps(alignment: Alignment, grid: Grid) -> Tensor:
    """Return which steps differ from those of the neighbouring patches.

    Content moves together with what is beside it; wrong matches scatter. A
    step is doubtful if fewer than three of the eight patches around it move
    alike, up to one row and one column.

    Args:
        alignment (Alignment): Its places (B, T, N).
        grid (tuple[int, int]): Rows and columns of the patches, N in all.

    Returns:
        Tensor: Bool of shape (B, T-1, N); ``[b, t, i]`` is the step of route i
        from frame t to frame t + 1.

    Raises:
        ValueError: If the grid does not hold N patches.
    """
    batch, frames, num = alignment.shape
    height, width = check_grid(grid, num)
    positions = alignment.grid_positions(grid).float()
    moves = positions.diff(dim=1).flatten(0, 1)  # (B (T-1), N, 2), by route
    start = alignment.places[:, :-1].flatten(0, 1)[..., None]
    # By patch of frame t; infinity, unlike any move, if no route is there.
    maps = torch.full_like(moves, torch.inf)
    maps = maps.scatter(1, start.expand_as(moves), moves)
    maps = maps.unflatten(1, (height, width)).movedim(-1, 1)
    around = F.pad(maps, (1, 1, 1, 1), value=torch.inf)
    around = around.unfold(2, 3, 1).unfold(3, 3, 1).flatten(-2)
    distance = (around - maps[..., None]).abs().amax(1)  # (P, h, w, 9)
    # Both counts include the patch itself.
    alike = (distance <= 1).sum(-1) - 1
    present = around[:, 0].isfinite().sum(-1) - 1
    doubtful = (alike < _MIN_SHARE * present).flatten(1)
    return doubtful.gather(1, start[..., 0]).view(batch, frames - 1, num)
