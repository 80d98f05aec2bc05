# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""A ViT block with a temporal module before its spatial attention."""
from typing import Optional, Tuple

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from ata_mm.ops import Alignment
from ..attention import SelfAttention
from ..temporal import build_temporal


class Mlp(nn.Sequential):
    """Two linear layers with a GELU between, named as in timm."""

    def __init__(self,
                 embed_dims: int,
                 hidden_dims: int,
                 out_dims: Optional[int] = None) -> None:
        super().__init__()
        self.add_module('fc1', nn.Linear(embed_dims, hidden_dims))
        self.add_module('act', nn.GELU())
        self.add_module('fc2', nn.Linear(hidden_dims, out_dims or embed_dims))
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


class DividedBlock(nn.Module):
    """Divided space-time attention: time first, then space, then the MLP.

    The class token takes no part in the temporal module. Every frame has a
    copy of it for the spatial attention; where frames are mixed, the copies
    are averaged afterwards, which makes it one token a clip as in TimeSformer.
    Under temporal averaging the copies stay apart, and each frame is treated
    as an image. A temporal module with ``joins_frames``, `JointAttention`,
    makes the block treat the whole clip as one image of T*N patches instead.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Number of heads.
        temporal (dict): Config of the temporal module.
        num_frames (int): Frames a clip, T.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 temporal: dict,
                 num_frames: int,
                 drop_path_rate: float = 0.) -> None:
        super().__init__()
        self.temporal = build_temporal(temporal, embed_dims, num_heads,
                                       num_frames, drop_path_rate)
        self.norm1 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.attn = SelfAttention(embed_dims, num_heads)
        self.norm2 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.mlp = Mlp(embed_dims, 4 * embed_dims)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self,
                x: Tensor,
                position: Optional[Tensor] = None,
                grid: Optional[Tuple[int, int]] = None,
                alignment: Optional[Alignment] = None) -> Tensor:
        """Mix time, then space.

        Args:
            x (Tensor): (B, T, 1+N, C), each frame's class token first.
            position (Tensor, optional): Embedding contained in the patches,
                broadcastable to (B, T, N, C). Defaults to None.
            grid (tuple[int, int], optional): Height and width of the patch
                grid. Defaults to None.
            alignment (Alignment, optional): For the temporal module. Defaults
                to None.

        Returns:
            Tensor: (B, T, 1+N, C).
        """
        if getattr(self.temporal, 'joins_frames', False):
            return split_frames(self._mix_space(join_frames(x)), x.shape[1])
        cls_token, patches = x[:, :, :1], x[:, :, 1:]
        patches = self.temporal(patches, position, grid, alignment)
        return self._mix_space(torch.cat([cls_token, patches], dim=2))

    def _mix_space(self, x: Tensor) -> Tensor:
        """Spatial attention and MLP of an image block: (B, T, 1+N, C)."""
        x = x + self._drop_frames(self.attn(self.norm1(x), dim=2))
        if not self.temporal.mixes_frames:
            return x + self._drop_frames(self.mlp(self.norm2(x)))
        average_class_token_(x)
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _drop_frames(self, x: Tensor) -> Tensor:
        """Stochastic depth with a draw for each frame: (B, T, 1+N, C)."""
        return self.drop_path(x.flatten(0, 1)).view_as(x)


def average_class_token_(x: Tensor) -> None:
    """Give all frames of a clip the mean of their class tokens, in place.

    Args:
        x (Tensor): (B, T, 1+N, C); not a leaf, and nobody else's.
    """
    x[:, :, 0] = x[:, :, 0].mean(1, keepdim=True)


def join_frames(x: Tensor) -> Tensor:
    """A clip as one frame of all its patches, with one class token.

    Args:
        x (Tensor): (B, T, 1+N, C); class tokens are averaged.

    Returns:
        Tensor: (B, 1, 1+T*N, C).
    """
    cls_token = x[:, :, 0].mean(1, keepdim=True)  # (B, 1, C)
    patches = x[:, :, 1:].flatten(1, 2)  # (B, T*N, C)
    return torch.cat([cls_token, patches], dim=1)[:, None]


def split_frames(x: Tensor, num_frames: int) -> Tensor:
    """Undo `join_frames`: (B, 1, 1+T*N, C) -> (B, T, 1+N, C), each frame with
    a copy of the class token."""
    patches = x[:, 0, 1:].unflatten(1, (num_frames, -1))  # (B, T, N, C)
    cls_token = x[:, :, :1].expand(-1, num_frames, -1, -1)
    return torch.cat([cls_token, patches], dim=2)
