# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Fit position and time embeddings to other image sizes and clip lengths."""
import math
from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Tokens before those of the patches: none, a class token, also a distillation
# token, a class token and four registers.
PREFIXES = (0, 1, 2, 5)


def resize_pos_embed(pos_embed: Tensor,
                     grid: Tuple[int, int],
                     num_prefix: int = 1) -> Tensor:
    """Interpolate a ViT's position embedding, bicubic in the plane.

    Args:
        pos_embed (Tensor): (1, P+S, C), the embeddings of a class token and
            its like first, those of the patches from a square grid of S.
        grid (tuple[int, int]): Height and width of the new grid.
        num_prefix (int): Number P of the tokens that are no patches. Defaults
            to 1.

    Returns:
        Tensor: (1, P+H*W, C); the input itself where it fits.

    Raises:
        ValueError: If S is not a square.
    """
    num = pos_embed.shape[1] - num_prefix
    if not _is_square(num):
        raise ValueError(
            f'Expected a pos_embed of {num_prefix} + S^2 tokens, a class '
            f'token and a square grid, got {pos_embed.shape[1]} tokens. '
            'Models with a distillation token or without a class token are '
            'not supported.')
    side = math.isqrt(num)
    if (side, side) == tuple(grid):
        return pos_embed
    prefix, patches = pos_embed[:, :num_prefix], pos_embed[:, num_prefix:]
    plane = patches.transpose(1, 2).unflatten(2, (side, side))
    plane = F.interpolate(
        plane.float(), grid, mode='bicubic', align_corners=False)
    patches = plane.flatten(2).transpose(1, 2).to(pos_embed.dtype)
    return torch.cat([prefix, patches], dim=1)


def resize_square_pos_embed(pos_embed: Tensor, num_tokens: int) -> Tensor:
    """Interpolate a position embedding between two square grids.

    Args:
        pos_embed (Tensor): (1, P+S, C) as for :func:`resize_pos_embed`; how
            many tokens P are no patches is found from the numbers.
        num_tokens (int): New number of tokens, P + H*H.

    Returns:
        Tensor: (1, P+H*H, C); the input itself where no P makes both grids
        square.
    """
    for num_prefix in PREFIXES:
        old, new = (
            num - num_prefix for num in (pos_embed.shape[1], num_tokens))
        if _is_square(old) and _is_square(new):
            side = math.isqrt(new)
            return resize_pos_embed(pos_embed, (side, side), num_prefix)
    return pos_embed


def resize_time_embed(time_embed: Tensor, num_frames: int) -> Tensor:
    """Interpolate a time embedding, linear in time.

    Args:
        time_embed (Tensor): (1, S, C).
        num_frames (int): New number of frames T.

    Returns:
        Tensor: (1, T, C); the input itself where it fits.
    """
    if time_embed.shape[1] == num_frames:
        return time_embed
    line = F.interpolate(
        time_embed.transpose(1, 2).float(),
        num_frames,
        mode='linear',
        align_corners=False)
    return line.transpose(1, 2).to(time_embed.dtype)


def _is_square(num: int) -> bool:
    return num > 0 and math.isqrt(num)**2 == num
