# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What matchers refuse, in one wording."""
from typing import Optional, Tuple

import torch
from torch import Tensor

from ..checking import check

NOT_FINITE = (
    'Expected finite similarities, got NaN or infinity. The features to be '
    'matched hold NaN or infinity: has training diverged?')


def check_square(similarity: Tensor) -> int:
    """The number of patches N of similarities (..., N, N).

    Raises:
        ValueError: If the last two sizes are not the same.
    """
    shape = tuple(similarity.shape)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(f'Expected similarities (..., N, N), got {shape}.')
    return shape[-1]


def check_finite(values: Tensor) -> None:
    """Refuse NaN and infinity.

    Raises:
        ValueError: If there is one. See `check`.
    """
    check(torch.isfinite(values).all(), NOT_FINITE)


def check_grid(grid: Optional[Tuple[int, int]], num_patches: int,
               matcher: object) -> Tuple[int, int]:
    """The grid of a matcher that cannot do without.

    Raises:
        ValueError: If it is missing or does not hold ``num_patches``.
    """
    if grid is None or grid[0] * grid[1] != num_patches:
        raise ValueError(
            f'Expected grid=(H, W) with H x W = N = {num_patches} patches, '
            f'which {matcher!r} needs to know which patches are near, got '
            f'grid={grid}. Give it as align_frames(x, matcher, grid=(H, W)).')
    return tuple(grid)


def check_radius(radius: int) -> int:
    """The radius of a window, a number of patches.

    Raises:
        ValueError: If it is no integer from 1.
    """
    if not isinstance(radius, int) or radius < 1:
        raise ValueError('Expected radius to be a number of patches from 1, '
                         f'got {radius!r}.')
    return radius
