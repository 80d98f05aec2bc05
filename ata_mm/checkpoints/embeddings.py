# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Interpolation of embeddings and time biases to other input sizes."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ata_mm.ops.types import Grid

# Numbers of tokens before those of the patches in published models: none, a
# class token, also a distillation token, a class token and four registers.
NUM_PREFIX_TOKENS = (0, 1, 2, 5)


def resize_pos_embed(
    pos_embed: Tensor,
    grid: Grid,
    num_prefix: int = 1,
    source: Grid | None = None,
) -> Tensor:
    """Interpolate the position embedding of a ViT bicubically.

    Args:
        pos_embed (Tensor): (1, P+S, C), the embeddings of P tokens without a
            position, such as a class token, then those of S patches.
        grid (tuple[int, int]): Height H and width W of the new grid.
        num_prefix (int): Number P. Defaults to 1.
        source (tuple[int, int], optional): Height and width of the old grid.
            Defaults to None, a square.

    Returns:
        Tensor: (1, P+H*W, C); the input itself if the grid is the same.

    Raises:
        ValueError: If S is not a square, or not the size of ``source``.
    """
    num = pos_embed.shape[1] - num_prefix
    if source is not None and source[0] * source[1] != num:
        raise ValueError(
            f'Expected a pos_embed of {num_prefix} + {source[0]} x {source[1]}'
            f' tokens, got {pos_embed.shape[1]}. The checkpoint is damaged.'
        )
    if source is None and not _is_square(num):
        raise ValueError(
            f'Expected a pos_embed of {num_prefix} + S^2 tokens, those that '
            'are not patches and a square grid, got '
            f'{pos_embed.shape[1]} tokens. Use a model with as many tokens '
            'that are not patches as the checkpoint has.'
        )
    old = tuple(source or (math.isqrt(num),) * 2)
    if old == tuple(grid):
        return pos_embed
    prefix, patches = pos_embed[:, :num_prefix], pos_embed[:, num_prefix:]
    plane = patches.transpose(1, 2).unflatten(2, old)  # (1, C, h, w)
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


def resize_time_bias(time_bias: Tensor, num_frames: int) -> Tensor:
    """Interpolate a relative time bias linearly.

    As for the time embedding, the new frames are taken to span the same time:
    a distance of d of T frames was one of d * S / T of S frames.

    Args:
        time_bias (Tensor): (heads, 2S - 1), for S frames; index d + S - 1 is
            the bias of distance d.
        num_frames (int): New number of frames T.

    Returns:
        Tensor: (heads, 2T - 1); the input itself if the number is the same.
    """
    old = (time_bias.shape[1] + 1) // 2
    if old == num_frames:
        return time_bias
    distance = torch.arange(1.0 - num_frames, num_frames) * old / num_frames
    index = distance.clamp(1 - old, old - 1) + old - 1
    below, above = index.floor().long(), index.ceil().long()
    values = time_bias.float()
    values = torch.lerp(values[:, below], values[:, above], index - below)
    return values.to(time_bias.dtype)


def _is_square(num: int) -> bool:
    return num > 0 and math.isqrt(num) ** 2 == num
