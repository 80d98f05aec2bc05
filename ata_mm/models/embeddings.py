# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Sine-cosine encodings of grid positions and of routes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ata_mm.ops.types import Grid


def sincos_embedding(grid: Grid, embed_dims: int) -> Tensor:
    r"""Encode rows in one half of the channels and columns in the other.

    .. math:: \sin(\omega_k p), \cos(\omega_k p), \quad
              \omega_k = \frac{\pi}{2} 100^{-k / K}, \quad k = 0 .. K - 1

    for the row or column p, with K = C / 4. The periods range from four to
    some hundred patches, which suits the grids of image models; with the base
    10000 of language models most channels would be constant.

    Args:
        grid (tuple[int, int]): Height H and width W, in patches.
        embed_dims (int): Channels C, a multiple of 4.

    Returns:
        Tensor: (H*W, C), with root mean square 1 / sqrt(2).

    Raises:
        ValueError: If ``embed_dims`` is not a multiple of 4.
    """
    if embed_dims % 4:
        raise ValueError(
            'Expected embed_dims to be a multiple of 4 for a '
            f'sine-cosine embedding, got {embed_dims}.'
        )
    return _encode(patch_positions(grid), max(grid), embed_dims // 2)


def route_encoding(positions: Tensor, grid: Grid, embed_dims: int) -> Tensor:
    r"""Encode position and velocity of every route.

    Row, column and their differences to the previous frame (0 in frame 0) have
    a quarter of the channels each, encoded as in :func:`sincos_embedding` with
    K = C / 8. Differences of neighbouring frames do not depend on where the
    clip starts, and a wrong match affects only one of them, whereas it would
    affect the displacements from frame 0 in all later frames. The scale is
    twice that of a position embedding, slightly above that of normalised
    features: small models learned motion sooner with it.

    Args:
        positions (Tensor): Row and column in each frame, (B, T, N, 2);
            rounded, since routes of a soft alignment run between patches, and
            clamped to the grid.
        grid (tuple[int, int]): Height H and width W, in patches.
        embed_dims (int): Channels C, a multiple of 8.

    Returns:
        Tensor: (B, T, N, C), with root mean square sqrt(2).
    """
    # NaN is not checked on a GPU, where a wrong index would end the process.
    rows, columns = positions.nan_to_num().round().long().unbind(-1)
    height, width = grid
    positions = torch.stack(
        [rows.clamp(0, height - 1), columns.clamp(0, width - 1)], -1
    )
    steps = positions.diff(dim=1, prepend=positions[:, :1])
    numbers = torch.cat([positions, steps], dim=-1)
    return _encode(numbers, max(grid), embed_dims // 4, scale=2.0)


def patch_positions(grid: Grid, device: torch.device | None = None) -> Tensor:
    """Return row and column of every patch: int64 of shape (H*W, 2)."""
    rows, columns = (torch.arange(length, device=device) for length in grid)
    return torch.cartesian_prod(rows, columns)


def _encode(
    numbers: Tensor, bound: int, channels: int, scale: float = 1.0
) -> Tensor:
    """Encode numbers in -bound+1..bound-1: (..., K) -> (..., K * channels)."""
    # By table lookup, since there are many patches and few distinct numbers.
    steps = torch.arange(channels // 2, device=numbers.device).float()
    omega = torch.pi / 2 * 100 ** (-2 * steps / channels)
    phase = torch.arange(1 - bound, bound, device=numbers.device).float()
    phase = phase[:, None] * omega
    table = scale * torch.cat([phase.sin(), phase.cos()], dim=1)
    return F.embedding(numbers + bound - 1, table).flatten(-2)
