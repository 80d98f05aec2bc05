# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Fit position and time embeddings to other image sizes and clip lengths."""
import math
from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_pos_embed(pos_embed: Tensor, grid: Tuple[int, int]) -> Tensor:
    """Interpolate a ViT's position embedding, bicubic in the plane.

    Args:
        pos_embed (Tensor): (1, 1+S, C), the class token's first, the patches'
            from a square grid of S.
        grid (tuple[int, int]): Height and width of the new grid.

    Returns:
        Tensor: (1, 1+H*W, C); the input itself where it fits.

    Raises:
        ValueError: If S is not a square.
    """
    num = pos_embed.shape[1] - 1
    side = math.isqrt(max(num, 0))
    if side * side != num:
        raise ValueError(
            'Expected a pos_embed of 1 + S^2 tokens, a class token and a '
            f'square grid, got {num + 1} tokens. Models with a distillation '
            'token or without a class token are not supported.')
    if (side, side) == tuple(grid):
        return pos_embed
    cls_token, patches = pos_embed[:, :1], pos_embed[:, 1:]
    plane = patches.transpose(1, 2).unflatten(2, (side, side))
    plane = F.interpolate(
        plane.float(), grid, mode='bicubic', align_corners=False)
    patches = plane.flatten(2).transpose(1, 2).to(pos_embed.dtype)
    return torch.cat([cls_token, patches], dim=1)


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
