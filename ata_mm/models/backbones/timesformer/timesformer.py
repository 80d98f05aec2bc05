# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""TimeSformer with a configurable temporal module, ATA by default.

Papers: "Is Space-Time Attention All You Need for Video Understanding?",
https://arxiv.org/abs/2102.05095, and "Alignment-guided Temporal Attention for
Video Action Recognition", NeurIPS 2022. Official code of the former, mostly
CC-BY-NC 4.0: https://github.com/facebookresearch/TimeSformer. Written from the
papers, with the parameter names of timm's ViT for the image model.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmaction.registry import MODELS
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule, ModuleList, kaiming_init
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ata_mm.ops import Alignment
from ata_mm.ops.types import Grid
from ata_mm.ops.validation import check_counts

from ...embeddings import sincos_embedding
from ...layers import Mlp
from ...layouts import ImageSize
from ...options import (
    check_drop_path_rate,
    drop_path_rates,
    read_img_size,
)
from ...temporal import (
    AlignmentSharing,
    SelfAttention,
    TemporalModule,
    build_temporal,
    merge_default,
    registered_class,
)
from ..base import VideoBackbone, check_clips, chosen_blocks


class PatchEmbed(nn.Module):
    """Embed the patches of frames: (B, 3, T, H, W) -> (B, T, N, C)."""

    def __init__(
        self, in_channels: int, embed_dims: int, patch_size: int
    ) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dims, patch_size, patch_size)
        # Tokens get the variance of the pixels, as in MMAction2's TimeSformer.
        kaiming_init(self.proj, mode='fan_in', nonlinearity='linear')

    def forward(self, x: Tensor) -> Tensor:
        """Embed a clip."""
        frames = x.transpose(1, 2)  # (B, T, 3, H, W)
        patches = self.proj(frames.flatten(0, 1))  # (B*T, C, H', W')
        patches = patches.flatten(2).transpose(1, 2)  # (B*T, N, C)
        return patches.unflatten(0, frames.shape[:2])


def average_class_token_(x: Tensor) -> None:
    """Average the class tokens of the frames of each clip in place.

    Args:
        x (Tensor): (B, T, 1+N, C), changed in place: not a leaf, and not used
            elsewhere.
    """
    # A concatenation would copy all tokens to change one per frame.
    x[:, :, 0] = x[:, :, 0].mean(1, keepdim=True)


class TimeSformerBlock(BaseModule):
    """ViT block on the frames of a clip, base class of space-time blocks.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Number of heads.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.
        temporal (TemporalModule, optional): Temporal module of the block.
            Defaults to None.
        init_cfg (dict, optional): As in mmengine. Defaults to None.

    Attributes:
        mixes_frames (bool): Whether frames see each other in the block.
    """

    mixes_frames: bool = True

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        drop_path_rate: float = 0.0,
        temporal: TemporalModule | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if temporal is not None:
            # First, since optimizer states are restored by the order of the
            # parameters.
            self.temporal = temporal
            self.mixes_frames = temporal.mixes_frames
        self.norm1 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.attn = SelfAttention(embed_dims, num_heads)
        self.norm2 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.mlp = Mlp(embed_dims, 4 * embed_dims)
        self.drop_path = DropPath(check_drop_path_rate(drop_path_rate))

    def alignment(
        self,
        x: Tensor,
        position: Tensor,
        grid: Grid,
        sharing: AlignmentSharing,
    ) -> Alignment | None:
        """Return the alignment that `forward` uses; None by default."""
        return None

    def mix_space(self, x: Tensor) -> Tensor:
        """Apply spatial attention and MLP: (B, T, 1+N, C) -> same shape."""
        x = x + self._drop_frames(self.attn(self.norm1(x), dim=2))
        if not self.mixes_frames:
            return x + self._drop_frames(self.mlp(self.norm2(x)))
        # As in TimeSformer: frames are dropped in the attention, but clips in
        # the MLP, since the frames of a clip share their class token.
        average_class_token_(x)
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _drop_frames(self, x: Tensor) -> Tensor:
        """Apply stochastic depth per frame: (B, T, 1+N, C) -> same shape."""
        return self.drop_path(x.flatten(0, 1)).view_as(x)


class DividedBlock(TimeSformerBlock):
    """Divided space-time attention: temporal module, spatial attention, MLP.

    The class token bypasses the temporal module. Every frame has a copy of it
    for the spatial attention. If frames are mixed, the copies are averaged
    afterwards, which makes it one token per clip as in TimeSformer; with
    temporal averaging the copies remain separate, and each frame is processed
    as an image.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Number of heads.
        num_frames (int): Frames per clip, T.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.
        temporal (dict): Config of the temporal module.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        num_frames: int,
        drop_path_rate: float,
        temporal: dict,
    ) -> None:
        super().__init__(
            embed_dims,
            num_heads,
            drop_path_rate,
            build_temporal(
                temporal, embed_dims, num_heads, num_frames, drop_path_rate
            ),
        )

    def alignment(
        self,
        x: Tensor,
        position: Tensor,
        grid: Grid,
        sharing: AlignmentSharing,
    ) -> Alignment | None:
        """Return the alignment of the temporal module, own or shared."""
        return sharing(self.temporal, x[:, :, 1:], position, grid)

    def forward(
        self,
        x: Tensor,
        position: Tensor | None = None,
        grid: Grid | None = None,
        alignment: Alignment | None = None,
    ) -> Tensor:
        """Mix time, then space.

        Args:
            x (Tensor): (B, T, 1+N, C), the class token of each frame first.
            position (Tensor, optional): Embedding contained in the patches,
                broadcastable to (B, T, N, C). Defaults to None.
            grid (tuple[int, int], optional): Height and width of the patch
                grid. Defaults to None.
            alignment (Alignment, optional): For the temporal module. Defaults
                to None.

        Returns:
            Tensor: (B, T, 1+N, C).
        """
        cls_token, patches = x[:, :, :1], x[:, :, 1:]
        patches = self.temporal(patches, position, grid, alignment)
        return self.mix_space(torch.cat([cls_token, patches], dim=2))


def build_block(
    temporal: dict,
    embed_dims: int,
    num_heads: int,
    num_frames: int,
    drop_path_rate: float,
) -> TimeSformerBlock:
    """Build a block from the config of its temporal module.

    Args:
        temporal (dict): Config of a :class:`TimeSformerBlock` such as
            `JointAttention`, or of a temporal module for a `DividedBlock`; its
            options override the other arguments.
        embed_dims (int): Channels C.
        num_heads (int): Number of heads.
        num_frames (int): Frames per clip, T.
        drop_path_rate (float): Rate of stochastic depth.
    """
    options: dict[str, Any] = dict(
        embed_dims=embed_dims,
        num_heads=num_heads,
        num_frames=num_frames,
        drop_path_rate=drop_path_rate,
    )
    # One option for both, since users think of joint attention as a choice of
    # temporal module, as Table 6 does.
    kind = registered_class(temporal)
    if kind is not None and issubclass(kind, TimeSformerBlock):
        return MODELS.build(
            {'_scope_': 'mmaction', **temporal}, default_args=options
        )
    return DividedBlock(temporal=temporal, **options)


@MODELS.register_module()
class ATATimeSformer(VideoBackbone):
    """Vision transformer on clips with a temporal module in every block.

    With ``temporal=dict(type='TemporalAttention')`` this is TimeSformer with
    divided space-time attention, with 'JointAttention' that with joint
    attention, with 'ATA' the paper's model, with 'TemporalAveraging' the image
    model on every frame (space-only).

    Args:
        num_frames (int): Frames per clip, T.
        img_size (int | tuple[int, int]): Height and width in pixels. Defaults
            to 224.
        patch_size (int): Side length of a patch in pixels. Defaults to 16.
        embed_dims (int): Channels C. Defaults to 768.
        num_heads (int): Heads of spatial and temporal attention. Defaults to
            12.
        num_layers (int): Number of blocks. Defaults to 12.
        in_channels (int): Channels of the video. Defaults to 3.
        drop_path_rate (float): Stochastic depth of the last block, growing
            linearly from 0 at the first. Defaults to 0.1.
        temporal (dict): The temporal module; without ``type``, options that
            change the default. Defaults to
            ``dict(type='ATA')``.
        temporal_blocks (str | Sequence[int]): Blocks that get ``temporal``:
            'all', or their indices from 0. Defaults to 'all'.
        other_temporal (dict): The temporal module of the other blocks.
            Defaults to ``dict(type='TemporalAttention')``, as in Tables 5
            and 7.
        position_std (float): Initial root mean square of the position
            embedding of the patches. The usual 0.02 suits a pretrained image
            model, which replaces it. For training from scratch, use a value
            above the scale of the tokens, which is that of the pixels: the
            model then uses positions from the first step. Defaults to 0.02.
        position_init (str): 'normal', random, or 'sincos', sines and cosines
            of rows and columns, in which a displacement is a linear map; both
            are learned afterwards. Defaults to 'normal'.
        time_std (float): Initial standard deviation of the time embedding.
            Defaults to 0.02.
        with_cp (bool): Recompute the blocks, but not their matchings, in the
            backward pass to save memory. Defaults to False.
        pretrained (str, optional): Path or URL for :func:`load_pretrained`,
            short for ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
            Defaults to None.
        init_cfg (dict, optional): As in mmengine. Defaults to None.

    Raises:
        ValueError: If the image is not divisible into patches, a block index
            is out of range, another option is not one of the above, or both
            pretrained and init_cfg are given.
    """

    def __init__(
        self,
        num_frames: int,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        embed_dims: int = 768,
        num_heads: int = 12,
        num_layers: int = 12,
        in_channels: int = 3,
        drop_path_rate: float = 0.1,
        temporal: dict | None = None,
        temporal_blocks: str | Sequence[int] = 'all',
        other_temporal: dict | None = None,
        position_std: float = 0.02,
        position_init: str = 'normal',
        time_std: float = 0.02,
        with_cp: bool = False,
        pretrained: str | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(pretrained, init_cfg)
        check_counts(
            num_frames=num_frames,
            patch_size=patch_size,
            embed_dims=embed_dims,
            num_layers=num_layers,
            in_channels=in_channels,
        )
        self.num_frames = num_frames
        self.in_channels = in_channels
        self.img_size = read_img_size(img_size)
        self.grid: Grid = _patch_grid(self.img_size, patch_size)
        self.with_cp = with_cp
        num_patches = self.grid[0] * self.grid[1]

        chosen = chosen_blocks(temporal_blocks, num_layers)
        temporal = merge_default(temporal, type='ATA')
        other_temporal = merge_default(
            other_temporal, type='TemporalAttention'
        )
        rates = drop_path_rates(drop_path_rate, num_layers)
        self.patch_embed = PatchEmbed(in_channels, embed_dims, patch_size)
        blocks = [
            build_block(
                temporal if i in chosen else other_temporal,
                embed_dims,
                num_heads,
                num_frames,
                rates[i],
            )
            for i in range(num_layers)
        ]
        self.blocks = ModuleList(blocks)
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)

        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        self.pos_embed = nn.Parameter(
            torch.zeros(1, 1 + num_patches, embed_dims)
        )
        # Not for the image model on every frame, which has no such parameter.
        self.time_embed: nn.Parameter | None = None
        if any(block.mixes_frames for block in blocks):
            self.time_embed = nn.Parameter(
                torch.zeros(1, num_frames, embed_dims)
            )
        self._init_embeddings(position_std, position_init, time_std)

    def _init_embeddings(
        self, position_std: float, position_init: str, time_std: float
    ) -> None:
        # A large embedding of the class token would dominate what the token
        # collects from the patches.
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.pos_embed, std=0.02)
        patches = self.pos_embed.data[:, 1:]
        if position_init == 'sincos':
            # Its root mean square is 1 / sqrt(2).
            embedding = sincos_embedding(self.grid, patches.shape[-1])
            patches.copy_(embedding * position_std * 2**0.5)
        elif position_init == 'normal':
            nn.init.normal_(patches, std=position_std)
        else:
            raise ValueError(
                "Expected position_init='normal' or "
                f"position_init='sincos', got {position_init!r}."
            )
        if self.time_embed is not None:
            nn.init.normal_(self.time_embed, std=time_std)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the class token of clips.

        Args:
            x (Tensor): (B, 3, T, H, W).

        Returns:
            Tensor: Normalised class tokens (B, C).

        Raises:
            ValueError: If the clips have another shape than configured.
        """
        check_clips(x, self.in_channels, self.num_frames, self.img_size)
        patches = self.patch_embed(x)  # (B, T, N, C)
        position = self.position_embedding()  # (1, T | 1, N, C)
        x = self._add_class_token(patches + position)  # (B, T, 1+N, C)
        sharing = AlignmentSharing()
        for block in self.blocks:
            # Outside of `checkpoint`, which would solve the matching twice.
            alignment = block.alignment(x, position, self.grid, sharing)
            inputs = x, position, self.grid, alignment
            if self.with_cp and self.training:
                x = checkpoint(block, *inputs, use_reentrant=False)
            else:
                x = block(*inputs)
        # The class tokens of frames are equal if the last block mixes frames;
        # otherwise this is the average over frames ("Averaging", Table 3).
        return self.norm(x[:, :, 0].mean(1))

    def position_embedding(self) -> Tensor:
        """Return the embedding added to the patches.

        Returns:
            Tensor: (1, T, N, C), or (1, 1, N, C) without time embedding.
        """
        position = self.pos_embed[:, None, 1:]
        if self.time_embed is None:
            return position
        return position + self.time_embed[:, :, None]

    def _add_class_token(self, patches: Tensor) -> Tensor:
        cls_token = self.cls_token + self.pos_embed[:, :1]  # (1, 1, C)
        cls_token = cls_token.expand(*patches.shape[:2], 1, -1)
        return torch.cat([cls_token, patches], dim=2)


def _patch_grid(img_size: ImageSize, patch_size: int) -> Grid:
    height, width = img_size
    if height % patch_size or width % patch_size:
        raise ValueError(
            'Expected an image size divisible by the patch size, got img_size='
            f'{img_size} and patch_size={patch_size}.'
        )
    return height // patch_size, width // patch_size
