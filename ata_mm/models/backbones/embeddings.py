# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Sine-cosine codes of the places of a grid."""
from typing import Tuple

import torch
from torch import Tensor


def sincos_embedding(grid: Tuple[int, int], embed_dims: int) -> Tensor:
    r"""Code rows in one half of the channels and columns in the other.

    .. math:: \sin(\omega_k p), \cos(\omega_k p), \quad
              \omega_k = \frac{\pi}{2} 100^{-k / K}, \quad k = 0 .. K - 1

    for the row or column p, with K = C / 4. The frequencies go from a period
    of four patches to one of some hundred, in steps suited to the grids of
    image models; 10000 instead of 100, as for words, would leave most
    channels constant.

    Args:
        grid (tuple[int, int]): Height H and width W, in patches.
        embed_dims (int): Channels C, a multiple of 4.

    Returns:
        Tensor: (H*W, C), of root mean square 1 / sqrt(2).

    Raises:
        ValueError: If ``embed_dims`` is no multiple of 4.
    """
    if embed_dims % 4:
        raise ValueError('Expected embed_dims to be a multiple of 4 for a '
                         f'sine-cosine embedding, got {embed_dims}.')
    steps = torch.arange(embed_dims // 4) / (embed_dims // 4)
    omega = torch.pi / 2 * 100**-steps
    rows, columns = (_waves(length, omega) for length in grid)
    rows = rows[:, None].expand(-1, grid[1], -1)
    columns = columns[None].expand(grid[0], -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


def _waves(length: int, omega: Tensor) -> Tensor:
    phase = torch.arange(length)[:, None] * omega
    return torch.cat([phase.sin(), phase.cos()], dim=1)  # (length, C / 2)
