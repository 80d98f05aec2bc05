# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Temporal attention of TimeSformer: each place attends over the frames.

Paper: "Is Space-Time Attention All You Need for Video Understanding?"
https://arxiv.org/abs/2102.05095; official code, Apache-2.0 for its ViT parts:
https://github.com/facebookresearch/TimeSformer
"""
from typing import Callable, Optional, Tuple

import torch
from mmaction.registry import MODELS
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from ata_mm.ops import Alignment
from ..attention import SelfAttention
from ..embeddings import patch_places, route_embedding


@MODELS.register_module()
class TemporalAttention(BaseModule):
    r"""Attention over the T patches at each place, with a residual.

    .. math:: y = x + fc(droppath(MSA_T(LN(x))))

    Adds 5 C^2 weights to a block: 3 for query, key and value, one for the
    projection, one for ``temporal_fc``.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Number of heads.
        drop_path_rate (float): Rate of stochastic depth, drawn for each place.
            Defaults to 0.
        num_frames (int, optional): Frames a clip, T; what ``time_bias_std``
            needs. Defaults to None.
        zero_init (bool): Start ``temporal_fc`` at zero, so that a pretrained
            image model is unchanged at the first step. Turn it off to train
            from scratch, where a Xavier start learns motion sooner. Defaults
            to True.
        time_bias_std (float, optional): Adds to the logits of each head a
            learned bias for each distance in time, heads x (2T - 1), that
            starts at this scale. Not in the paper: trained from scratch,
            large random biases let heads look forward or back from the first
            step on, without which the sense of a motion is learned late.
            Defaults to None, no bias.
        route_encoding (bool): Add to the normalised input a fixed code of
            each patch's place on the grid, and of the step that brought its
            route there; see :func:`~ata_mm.models.embeddings.route_embedding`.
            Here every route stays at its place, in `ATA` it is the trajectory
            that attention then sees. Not in the paper: for backbones without
            a position embedding. Added after LayerNorm, where features have
            unit variance at any depth, so that the code has the same weight
            in every block. Needs ``grid``. Defaults to False.
        init_cfg (dict, optional): As in mmengine. Defaults to None.

    Raises:
        ValueError: If ``time_bias_std`` is given without ``num_frames``, or
            ``embed_dims`` is no multiple of 8 with ``route_encoding``.
    """

    mixes_frames = True

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 drop_path_rate: float = 0.,
                 num_frames: Optional[int] = None,
                 zero_init: bool = True,
                 time_bias_std: Optional[float] = None,
                 route_encoding: bool = False,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        if route_encoding and embed_dims % 8:
            raise ValueError('Expected embed_dims to be a multiple of 8 with '
                             f'route_encoding=True, got {embed_dims}.')
        self.route_encoding = route_encoding
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)
        self.attn = SelfAttention(embed_dims, num_heads)
        self.drop_path = DropPath(drop_path_rate)
        self.temporal_fc = nn.Linear(embed_dims, embed_dims)
        if zero_init:
            nn.init.zeros_(self.temporal_fc.weight)
        else:
            nn.init.xavier_uniform_(self.temporal_fc.weight)
        nn.init.zeros_(self.temporal_fc.bias)
        self.time_bias = None
        if time_bias_std is not None:
            self._add_time_bias(num_heads, num_frames, time_bias_std)

    def _add_time_bias(self, num_heads: int, num_frames: Optional[int],
                       std: float) -> None:
        if num_frames is None:
            raise ValueError('Expected num_frames with time_bias_std='
                             f'{std}, got None.')
        bias = torch.randn(num_heads, 2 * num_frames - 1) * std
        self.time_bias = nn.Parameter(bias)
        time = torch.arange(num_frames)
        self.register_buffer(
            'distance',
            time[:, None] - time + num_frames - 1,
            persistent=False)

    def branch(self, x: Tensor, code: Optional[Tensor] = None) -> Tensor:
        """What is added to x: (B, T, N, C) -> (B, T, N, C)."""
        bias = None
        if self.time_bias is not None:
            bias = self.time_bias[:, self.distance]  # (heads, T, T)
        x = self.norm(x)
        if code is not None:
            x = x + code.to(x.dtype)
        x = self.attn(x, dim=1, bias=bias)
        return self.temporal_fc(self._drop_places(x))

    def route_code(
        self,
        x: Tensor,
        grid: Optional[Tuple[int, int]],
        align: Optional[Callable[[Tensor],
                                 Tensor]] = None) -> Optional[Tensor]:
        """The code of the routes, or None where ``route_encoding`` is off.

        Args:
            x (Tensor): Features (B, T, N, C), for their shape and device.
            grid (tuple[int, int], optional): Height and width of the patch
                grid.
            align (Callable, optional): Orders (B, T, N, 2) by route. Defaults
                to None: patches stay at their places.

        Returns:
            Tensor | None: Broadcastable to (B, T, N, C).

        Raises:
            ValueError: If ``grid`` does not hold N patches.
        """
        if not self.route_encoding:
            return None
        if grid is None or grid[0] * grid[1] != x.shape[2]:
            raise ValueError(
                'Expected grid=(H, W), the height and width of the grid of '
                f'N = {x.shape[2]} patches, which route_encoding=True needs, '
                f'got grid={grid}.')
        places = patch_places(grid, x.device)[None, None].float()
        if align is not None:
            places = align(places.expand(*x.shape[:3], 2))
        return route_embedding(places, grid, x.shape[-1])

    def _drop_places(self, x: Tensor) -> Tensor:
        """Stochastic depth with a draw for each place or route, as in
        TimeSformer, not for each clip: (B, T, N, C)."""
        if not self.training:
            return x
        batch, _, num, _ = x.shape
        keep = self.drop_path(x.new_ones(batch * num, 1))
        return x * keep.view(batch, 1, num, 1)

    def forward(self,
                x: Tensor,
                position: Optional[Tensor] = None,
                grid: Optional[Tuple[int, int]] = None,
                alignment: Optional[Alignment] = None) -> Tensor:
        """Let the frames exchange what they have at each place.

        Args:
            x (Tensor): Patch features (B, T, N, C), no class token.
            position (Tensor, optional): Not used; temporal modules share one
                signature. Defaults to None.
            grid (tuple[int, int], optional): Height and width of the patch
                grid, for ``route_encoding``. Defaults to None.
            alignment (Alignment, optional): Not used. Defaults to None.

        Returns:
            Tensor: (B, T, N, C).
        """
        return x + self.branch(x, self.route_code(x, grid))
