# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Joint space-time attention: all patches of a clip in one attention.

Paper: "Is Space-Time Attention All You Need for Video Understanding?"
https://arxiv.org/abs/2102.05095, Sec. 3; Table 6 of the ATA paper.
"""

import torch
from mmaction.registry import MODELS
from torch import Tensor

from ata_mm.ops import Alignment
from ata_mm.ops.types import Grid

from .timesformer import TimeSformerBlock


@MODELS.register_module()
class JointAttention(TimeSformerBlock):
    """ViT block whose spatial attention sees all frames ("Joint", Table 6).

    The T*N patches of a clip and one class token form one sequence: O(T^2 N^2
    C) time instead of O(T N^2 C), and no additional parameter. Selected by
    ``temporal=dict(type='JointAttention')`` of `ATATimeSformer`. A block, not
    a temporal module: other backbones have no spatial attention to extend.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Number of heads.
        num_frames (int, optional): Not used; part of the signature of blocks.
            Defaults to None.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.
        init_cfg (dict, optional): As in mmengine. Defaults to None.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        num_frames: int | None = None,
        drop_path_rate: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            embed_dims, num_heads, drop_path_rate, init_cfg=init_cfg
        )

    def forward(
        self,
        x: Tensor,
        position: Tensor | None = None,
        grid: Grid | None = None,
        alignment: Alignment | None = None,
    ) -> Tensor:
        """Mix time and space.

        Args:
            x (Tensor): (B, T, 1+N, C), the class token of each frame first.
            position (Tensor, optional): Not used. Defaults to None.
            grid (tuple[int, int], optional): Not used. Defaults to None.
            alignment (Alignment, optional): Not used. Defaults to None.

        Returns:
            Tensor: (B, T, 1+N, C).
        """
        return split_frames(self.mix_space(join_frames(x)), x.shape[1])


def join_frames(x: Tensor) -> Tensor:
    """Join the frames of a clip to one frame with one class token.

    Args:
        x (Tensor): (B, T, 1+N, C); class tokens are averaged.

    Returns:
        Tensor: (B, 1, 1+T*N, C).
    """
    # They differ only after a block that keeps the frames separate.
    cls_token = x[:, :, 0].mean(1, keepdim=True)  # (B, 1, C)
    patches = x[:, :, 1:].flatten(1, 2)  # (B, T*N, C)
    return torch.cat([cls_token, patches], dim=1)[:, None]


def split_frames(x: Tensor, num_frames: int) -> Tensor:
    """Undo `join_frames`: (B, 1, 1+T*N, C) -> (B, T, 1+N, C).

    Each frame gets a copy of the class token.
    """
    patches = x[:, 0, 1:].unflatten(1, (num_frames, -1))  # (B, T, N, C)
    cls_token = x[:, :, :1].expand(-1, num_frames, -1, -1)
    return torch.cat([cls_token, patches], dim=2)
