# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Interpolation of position and time embeddings to other input sizes."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ata_mm.ops.types import Grid

# Numbers of tokens before those of the patches in published models: none, a
# class token, also a distillation token, a class token and four registers.
NUM_PREFIX_TOKENS = (0, 1, 2, 5)


def resize_pos_embed(
    pos_embed: Tensor, grid: Grid, num_prefix: int = 1
) -> Tensor:
    """Interpolate the position embedding of a ViT bicubically.

    Args:
        pos_embed (Tensor): (1, P+S, C), the embeddings of P tokens without a
            position, such as a class token, then those of S patches on a
            square grid.
        grid (tuple[int, int]): Height H and width W of the new grid.
        num_prefix (int): Number P. Defaults to 1.

    Returns:
        Tensor: (1, P+H*W, C); the input itself if the grid is the same.

    Raises:
        ValueError: If S is not a square.
    """
    num = pos_embed.shape[1] - num_prefix
    if not _is_square(num):
        raise ValueError(
            f'Expected a pos_embed of {num_prefix} + S^2 tokens, a class '
            f'token and a square grid, got {pos_embed.shape[1]} tokens. '
            'Models with a distillation token or without a class token are '
            'not supported.'
        )
    side = math.isqrt(num)
    if (side, side) == tuple(grid):
        return pos_embed
    prefix, patches = pos_embed[:, :num_prefix], pos_embed[:, num_prefix:]
    plane = patches.transpose(1, 2).unflatten(2, (side, side))  # (1, C, S, S)
    plane = F.interpolate(
        plane.float(), grid, mode='bicubic', align_corners=False
    )
    patches = plane.flatten(2).transpose(1, 2).to(pos_embed.dtype)
    return torch.cat([prefix, patches], dim=1)  # (1, P+H*W, C)


def resize_square_pos_embed(pos_embed: Tensor, num_tokens: int) -> Tensor:
    """Interpolate a position embedding between two square grids.

    Args:
        pos_embed (Tensor): (1, P+S, C) as for :func:`resize_pos_embed`. P is
            the first of ``NUM_PREFIX_TOKENS`` that makes both grids square.
        num_tokens (int): New number of tokens, P + H*H.

    Returns:
        Tensor: (1, P+H*H, C); the input itself if there is no such P.
    """
    for num_prefix in NUM_PREFIX_TOKENS:
        old, new = (
            num - num_prefix for num in (pos_embed.shape[1], num_tokens)
        )
        if _is_square(old) and _is_square(new):
            side = math.isqrt(new)
            return resize_pos_embed(pos_embed, (side, side), num_prefix)
    return pos_embed


def resize_time_embed(time_embed: Tensor, num_frames: int) -> Tensor:
    """Interpolate a time embedding linearly.

    Args:
        time_embed (Tensor): (1, S, C), for S frames.
        num_frames (int): New number of frames T.

    Returns:
        Tensor: (1, T, C); the input itself if the number is the same.
    """
    if time_embed.shape[1] == num_frames:
        return time_embed
    line = F.interpolate(
        time_embed.transpose(1, 2).float(),  # (1, C, S)
        num_frames,
        mode='linear',
        align_corners=False,
    )
    return line.transpose(1, 2).to(time_embed.dtype)


def _is_square(num: int) -> bool:
    return num > 0 and math.isqrt(num) ** 2 == num
