# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""TimeSformer with a choice of temporal modelling, ATA above all.

Papers: "Is Space-Time Attention All You Need for Video Understanding?",
https://arxiv.org/abs/2102.05095 (official code:
https://github.com/facebookresearch/TimeSformer), and ATA, NeurIPS 2022. The
parameters of the image model have timm's names.
"""
from typing import Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.model.weight_init import kaiming_init
from mmengine.utils import to_2tuple
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..embeddings import sincos_embedding
from ..temporal import AlignmentSharing
from .base import VideoBackbone, check_clips, chosen_blocks
from .divided_block import DividedBlock


class PatchEmbed(nn.Module):
    """Frames to patch tokens: (B, 3, T, H, W) -> (B, T, N, C)."""

    def __init__(self, in_channels: int, embed_dims: int,
                 patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dims, patch_size, patch_size)
        # Tokens of the variance of the pixels, as in MMAction2's TimeSformer.
        kaiming_init(self.proj, mode='fan_in', nonlinearity='linear')

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2)  # (B, T, 3, H, W)
        patches = self.proj(frames.flatten(0, 1))  # (B*T, C, H', W')
        patches = patches.flatten(2).transpose(1, 2)  # (B*T, N, C)
        return patches.unflatten(0, frames.shape[:2])


@MODELS.register_module()
class ATATimeSformer(VideoBackbone):
    """Vision transformer on frames with a temporal module in every block.

    With ``temporal=dict(type='TemporalAttention')`` this is the divided
    space-time TimeSformer, with 'JointAttention' the joint one, with 'ATA'
    the paper's model, with 'TemporalAveraging' the image model on every frame
    (space-only).

    Args:
        num_frames (int): Frames a clip, T.
        img_size (int | tuple[int, int]): Height and width in pixels. Defaults
            to 224.
        patch_size (int): Side of a patch in pixels. Defaults to 16.
        embed_dims (int): Channels C. Defaults to 768.
        num_heads (int): Heads of spatial and temporal attention. Defaults to
            12.
        num_layers (int): Number of blocks. Defaults to 12.
        in_channels (int): Channels of the video. Defaults to 3.
        drop_path_rate (float): Stochastic depth of the last block, growing
            linearly from 0 at the first. Defaults to 0.1.
        temporal (dict): The temporal module. Defaults to
            ``dict(type='ATA')``.
        temporal_blocks (str | Sequence[int]): Blocks that get ``temporal``:
            'all', or their indices from 0. Defaults to 'all'.
        other_temporal (dict): The temporal module of the other blocks.
            Defaults to ``dict(type='TemporalAttention')``, as in Tables 5
            and 7.
        position_std (float): Scale (root mean square) at which the position
            embedding of the patches starts. The usual 0.02 suits a start from
            an image model, which brings its own; trained from scratch, a
            value above the scale of the tokens, which is that of the pixels,
            lets the model read the position from the first step on. Defaults
            to 0.02.
        position_init (str): 'normal', random, or 'sincos', the sines and
            cosines of rows and columns, in which a displacement is easy to
            see; learned from there on in both cases. Defaults to 'normal'.
        time_std (float): Scale at which the time embedding starts. Defaults
            to 0.02.
        with_cp (bool): Recompute the blocks in the backward pass to save
            memory, but not their matchings. Defaults to False.
        pretrained (str, optional): Path or URL for :func:`load_pretrained`;
            short for ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
            Defaults to None.
        init_cfg (dict, optional): As in mmengine. Defaults to None.

    Raises:
        ValueError: If the image is not divisible into patches, a block index
            is out of range, position_init is unknown, or both pretrained and
            init_cfg are given.
    """

    def __init__(self,
                 num_frames: int,
                 img_size: Union[int, Tuple[int, int]] = 224,
                 patch_size: int = 16,
                 embed_dims: int = 768,
                 num_heads: int = 12,
                 num_layers: int = 12,
                 in_channels: int = 3,
                 drop_path_rate: float = 0.1,
                 temporal: Optional[dict] = None,
                 temporal_blocks: Union[str, Sequence[int]] = 'all',
                 other_temporal: Optional[dict] = None,
                 position_std: float = 0.02,
                 position_init: str = 'normal',
                 time_std: float = 0.02,
                 with_cp: bool = False,
                 pretrained: Optional[str] = None,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(pretrained, init_cfg)
        self.num_frames = num_frames
        self.in_channels = in_channels
        self.img_size = to_2tuple(img_size)
        self.grid = _patch_grid(self.img_size, patch_size)
        self.with_cp = with_cp
        num_patches = self.grid[0] * self.grid[1]

        chosen = chosen_blocks(temporal_blocks, num_layers)
        temporal = temporal or dict(type='ATA')
        other_temporal = other_temporal or dict(type='TemporalAttention')
        rates = np.linspace(0, drop_path_rate, num_layers).tolist()
        self.patch_embed = PatchEmbed(in_channels, embed_dims, patch_size)
        self.blocks = nn.ModuleList(
            DividedBlock(embed_dims, num_heads, temporal if i in
                         chosen else other_temporal, num_frames, rates[i])
            for i in range(num_layers))
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)

        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        self.pos_embed = nn.Parameter(
            torch.zeros(1, 1 + num_patches, embed_dims))
        self.time_embed = None
        if any(block.temporal.mixes_frames for block in self.blocks):
            self.time_embed = nn.Parameter(
                torch.zeros(1, num_frames, embed_dims))
        self._init_embeddings(position_std, position_init, time_std)

    def _init_embeddings(self, position_std: float, position_init: str,
                         time_std: float) -> None:
        # A large embedding of the class token would outweigh what the token
        # gathers from the patches.
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.pos_embed, std=0.02)
        patches = self.pos_embed.data[:, 1:]
        if position_init == 'sincos':
            code = sincos_embedding(self.grid, patches.shape[-1])
            patches.copy_(code * position_std * 2**0.5)
        elif position_init == 'normal':
            nn.init.normal_(patches, std=position_std)
        else:
            raise ValueError("Expected position_init='normal' or "
                             f"position_init='sincos', got {position_init!r}.")
        if self.time_embed is not None:
            nn.init.normal_(self.time_embed, std=time_std)

    def forward(self, x: Tensor) -> Tensor:
        """A clip to its class token.

        Args:
            x (Tensor): (B, 3, T, H, W).

        Returns:
            Tensor: Class tokens (B, C), normalised.

        Raises:
            ValueError: If the clip has another shape than the model is for.
        """
        check_clips(x, self.in_channels, self.num_frames, self.img_size)
        patches = self.patch_embed(x)  # (B, T, N, C)
        position = self.position_embedding()  # (1, T | 1, N, C)
        x = self._add_class_token(patches + position)  # (B, T, 1+N, C)
        sharing = AlignmentSharing()
        for block in self.blocks:
            alignment = sharing(block.temporal, x[:, :, 1:], position,
                                self.grid)
            inputs = x, position, self.grid, alignment
            if self.with_cp and self.training:
                x = checkpoint(block, *inputs, use_reentrant=False)
            else:
                x = block(*inputs)
        return self.norm(x[:, :, 0].mean(1))

    def position_embedding(self) -> Tensor:
        """What is added to the patches: (1, T, N, C), (1, 1, N, C) without
        time embedding."""
        position = self.pos_embed[:, None, 1:]
        if self.time_embed is None:
            return position
        return position + self.time_embed[:, :, None]

    def _add_class_token(self, patches: Tensor) -> Tensor:
        cls_token = self.cls_token + self.pos_embed[:, :1]  # (1, 1, C)
        cls_token = cls_token.expand(*patches.shape[:2], 1, -1)
        return torch.cat([cls_token, patches], dim=2)


def _patch_grid(img_size: Tuple[int, int], patch_size: int) -> Tuple[int, int]:
    height, width = img_size
    if not isinstance(patch_size, int) or patch_size < 1:
        raise ValueError('Expected patch_size to be the side of a square, an '
                         f'integer, got {patch_size!r}.')
    if height % patch_size or width % patch_size:
        raise ValueError(
            'Expected an image size divisible by the patch size, got img_size='
            f'{img_size} and patch_size={patch_size}.')
    return height // patch_size, width // patch_size
