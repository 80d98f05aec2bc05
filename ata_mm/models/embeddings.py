# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Sine-cosine codes of places on a grid, and of routes over it."""
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
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
    return _code(patch_places(grid), max(grid), embed_dims // 2)


def route_embedding(places: Tensor, grid: Tuple[int, int],
                    embed_dims: int) -> Tensor:
    r"""Code where every route is, and how it has come there.

    The four numbers row, column, and their change since the frame before,
    which is 0 in frame 0, have a quarter of the channels each, coded as in
    :func:`sincos_embedding` with K = C / 8. The change since the frame before
    is a velocity: it does not depend on when the clip begins, and a wrong
    match spoils one of them, while it would leave the way since frame 0 wrong
    to the end of the clip. At twice the scale of an embedding, a little above
    normalised features: small models learned motion sooner so.

    Args:
        places (Tensor): Row and column in each frame, (B, T, N, 2); rounded,
            since routes of a soft alignment run between patches.
        grid (tuple[int, int]): Height H and width W, in patches.
        embed_dims (int): Channels C, a multiple of 8.

    Returns:
        Tensor: (B, T, N, C), of root mean square sqrt(2).
    """
    places = places.round().long()
    steps = places.diff(dim=1, prepend=places[:, :1])
    numbers = torch.cat([places, steps], dim=-1)
    return _code(numbers, max(grid), embed_dims // 4, scale=2.)


def patch_places(grid: Tuple[int, int],
                 device: Optional[torch.device] = None) -> Tensor:
    """Row and column of every patch: (H*W, 2), int64."""
    rows, columns = (torch.arange(length, device=device) for length in grid)
    return torch.cartesian_prod(rows, columns)


def _code(numbers: Tensor,
          bound: int,
          channels: int,
          scale: float = 1.) -> Tensor:
    """Sines and cosines of each number in -bound+1 .. bound-1, next to each
    other: (..., K) -> (..., K * channels)."""
    # Looked up, since there are few different numbers and many patches.
    steps = torch.arange(channels // 2, device=numbers.device)
    omega = torch.pi / 2 * 100**(-2 * steps / channels)
    phase = torch.arange(1 - bound, bound, device=numbers.device)
    phase = phase[:, None] * omega
    table = scale * torch.cat([phase.sin(), phase.cos()], dim=1)
    return F.embedding(numbers + bound - 1, table).flatten(-2)
