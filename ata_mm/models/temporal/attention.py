# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Temporal attention of TimeSformer: each position attends over the frames.

Paper: "Is Space-Time Attention All You Need for Video Understanding?"
https://arxiv.org/abs/2102.05095; official code, Apache-2.0 for its ViT parts:
https://github.com/facebookresearch/TimeSformer
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from ata_mm.ops import Alignment
from ata_mm.ops.tracing import is_tracing
from ata_mm.ops.types import Grid
from ata_mm.ops.validation import (
    check_counts,
    check_grid,
    is_count,
    is_number,
)

from ..embeddings import patch_positions, route_encoding
from ..options import check_drop_path_rate
from .base import TemporalModule

# Blocks of a CUDA launch in one dimension. Fused attention has one for each
# sequence: a larger batch fails as an invalid configuration, in torch 2.6 with
# all fused kernels (https://github.com/pytorch/pytorch/issues/142228).
_MAX_BATCH = 2**16 - 1


def attend_in_parts(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    size: int = _MAX_BATCH,
) -> Tensor:
    """Compute scaled dot product attention of a large batch, part by part.

    Args:
        query (Tensor): (batch, heads, L, d).
        key (Tensor): (batch, heads, L, d).
        value (Tensor): (batch, heads, L, d).
        bias (Tensor, optional): As of ``scaled_dot_product_attention``.
            Defaults to None.
        size (int): Largest batch of a part. Defaults to 65535.

    Returns:
        Tensor: (batch, heads, L, d).
    """
    queries, keys, values = (x.split(size) for x in (query, key, value))
    biases: Sequence[Tensor | None] = [bias] * len(queries)
    if bias is not None and bias.ndim == 4 and len(bias) > 1:
        biases = bias.split(size)
    parts = map(F.scaled_dot_product_attention, queries, keys, values, biases)
    return torch.cat(list(parts))


class SelfAttention(nn.Module):
    """Multi-head self-attention with the parameter names of timm's ViT.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Number of heads; divides C.

    Raises:
        ValueError: If ``num_heads`` does not divide ``embed_dims``.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        if not is_count(num_heads, 1) or embed_dims % num_heads:
            raise ValueError(
                'Expected num_heads to divide embed_dims, got num_heads='
                f'{num_heads!r} and embed_dims={embed_dims}.'
            )
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)
        # Xavier for each matrix separately, as in the original ViT: attention
        # logits of normalised tokens then have unit variance.
        for weight in (*self.qkv.weight.chunk(3), self.proj.weight):
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.proj.bias)

    def forward(
        self, x: Tensor, dim: int, bias: Tensor | None = None
    ) -> Tensor:
        """Attend along one dimension, independently of the others.

        Args:
            x (Tensor): Features (..., C) with at least three dimensions.
            dim (int): The dimension to attend along, of length L.
            bias (Tensor, optional): See `attend`. Defaults to None.

        Returns:
            Tensor: Same shape as x.
        """
        return self.proj(self.attend(self.project(x), dim, bias))

    def project(self, x: Tensor) -> Tensor:
        """Compute queries, keys and values: (..., C) -> (..., 3, heads, d)."""
        return self.qkv(x).unflatten(-1, (3, self.num_heads, -1))

    def attend(
        self, qkv: Tensor, dim: int, bias: Tensor | None = None
    ) -> Tensor:
        """Attend with some or all heads along one dimension.

        Args:
            qkv (Tensor): Queries, keys and values, (..., 3, heads, d).
            dim (int): The dimension to attend along, of length L.
            bias (Tensor, optional): Added to the logits, or a bool mask, True
                where a query sees a key; (heads, L, L), or broadcastable to
                (batch, heads, L, L), where the batch is all other dimensions.
                Defaults to None.

        Returns:
            Tensor: (..., heads * d).
        """
        qkv = qkv.movedim(dim, -4)  # (..., L, 3, heads, d)
        lead = qkv.shape[:-4]
        qkv = qkv.movedim(-3, 0).transpose(-2, -3)  # (3, ..., heads, L, d)
        # Fused kernels want exactly (batch, heads, L, d).
        query, key, value = qkv.reshape(3, -1, *qkv.shape[-3:])
        # A tracer would have to fix the batch to choose.
        if query.is_cuda and not is_tracing() and len(query) > _MAX_BATCH:
            out = attend_in_parts(query, key, value, bias)
        else:
            out = F.scaled_dot_product_attention(query, key, value, bias)
        out = out.unflatten(0, lead).transpose(-2, -3).flatten(-2)
        return out.movedim(-2, dim)


# At equal logits, the frame itself and those on the other side get 5 % of the
# attention of the neighbour.
_OTHER_SIDE = -3.0


def directed_time_bias(
    num_heads: int, num_frames: int, slopes: Sequence[float]
) -> Tensor:
    r"""Return time biases of heads that look to earlier or later frames.

    Heads come in pairs: the first looks to earlier frames, the second to later
    ones, and pair p starts with slope :math:`m = slopes[p \bmod len(slopes)]`:

    .. math:: b(d) = -m (|d| - 1)

    on its side, as in ALiBi (https://arxiv.org/abs/2108.12409), and -3 for the
    frame itself and the other side. A steep slope sees the next frame alone, a
    flat one all frames. Any even number of heads thus looks both ways.

    Args:
        num_heads (int): Number of heads.
        num_frames (int): Frames per clip, T.
        slopes (Sequence[float]): Slopes per frame.

    Returns:
        Tensor: (heads, 2T - 1); index d + T - 1 is the bias for a frame d
        frames earlier.
    """
    distance = torch.arange(1.0 - num_frames, num_frames)
    heads = torch.arange(num_heads)
    ahead = distance * (1 - 2 * (heads % 2))[:, None]  # > 0 on its side
    slope = torch.tensor(slopes)[heads // 2 % len(slopes)][:, None]
    return torch.where(ahead > 0, -slope * (ahead - 1), _OTHER_SIDE)


@MODELS.register_module()
class TemporalAttention(TemporalModule):
    r"""Attention over the T patches at each position, with a residual.

    .. math:: y = x + fc(droppath(MSA_T(LN(x))))

    Adds 5 C^2 weights per block: 3 C^2 for query, key and value, C^2 for the
    projection, C^2 for ``temporal_fc``.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Number of heads.
        drop_path_rate (float): Rate of stochastic depth, drawn for each
            position. Defaults to 0.
        num_frames (int, optional): Frames per clip, T; required by
            ``time_bias_std`` and ``time_bias_slopes``. Defaults to None.
        zero_init (bool): Initialise ``temporal_fc`` to zero: a pretrained
            image model is unchanged at the first step. False
            (Xavier) learns motion sooner when trained from scratch. Defaults
            to True.
        time_bias_std (float, optional): Standard deviation at which a learned
            relative time bias of the attention logits starts, of shape
            (heads, 2T - 1). Not in the paper: trained from scratch, large
            biases make heads look forward or backward from the first step on,
            without which the direction of motion is learned late. Which head
            looks where is left to chance. Defaults to None, no bias.
        route_encoding (bool): Add a fixed encoding of position and velocity to
            the normalised input; see
            :func:`~ata_mm.models.embeddings.route_encoding`. Here every route
            stays at its position; in `ATA` attention sees the trajectory. Not
            in the paper: for backbones without a position embedding. Added
            after LayerNorm, where features have unit variance at any depth:
            the encoding has the same weight in every block. Needs
            ``grid``. Defaults to False.
        time_bias_slopes (Sequence[float], optional): Slopes that give the same
            bias deterministic initial values; see
            :func:`~ata_mm.models.temporal.attention.directed_time_bias`. Added
            to that of ``time_bias_std``. Defaults to None.
        init_cfg (dict, optional): As in mmengine. Defaults to None.

    Raises:
        ValueError: If a time bias is given without ``num_frames``, or
            ``embed_dims`` is not a multiple of 8 with ``route_encoding``.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        drop_path_rate: float = 0.0,
        num_frames: int | None = None,
        zero_init: bool = True,
        time_bias_std: float | None = None,
        route_encoding: bool = False,
        time_bias_slopes: Sequence[float] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if route_encoding and embed_dims % 8:
            raise ValueError(
                'Expected embed_dims to be a multiple of 8 with '
                f'route_encoding=True, got {embed_dims}. Use '
                "temporal=dict(type='ATA'), without it."
            )
        self.route_encoding = route_encoding
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)
        self.attn = SelfAttention(embed_dims, num_heads)
        self.drop_path = DropPath(check_drop_path_rate(drop_path_rate))
        self.temporal_fc = nn.Linear(embed_dims, embed_dims)
        if zero_init:
            nn.init.zeros_(self.temporal_fc.weight)
        else:
            nn.init.xavier_uniform_(self.temporal_fc.weight)
        nn.init.zeros_(self.temporal_fc.bias)
        self.time_bias: nn.Parameter | None = None
        if time_bias_std is not None or time_bias_slopes is not None:
            self._add_time_bias(
                num_heads, num_frames, time_bias_std, time_bias_slopes
            )

    def _add_time_bias(
        self,
        num_heads: int,
        num_frames: int | None,
        std: float | None,
        slopes: Sequence[float] | None,
    ) -> None:
        if num_frames is None:
            raise ValueError(
                f'Expected num_frames with time_bias_std={std} and '
                f'time_bias_slopes={slopes}, got None.'
            )
        check_counts(num_frames=num_frames)
        if slopes is not None and not _are_slopes(slopes):
            raise ValueError(
                'Expected time_bias_slopes=None or a sequence of at least one '
                f'finite number, such as (2.0, 0.25), got {slopes!r}.'
            )
        bias = torch.randn(num_heads, 2 * num_frames - 1) * (std or 0.0)
        if slopes is not None:
            bias += directed_time_bias(num_heads, num_frames, slopes)
        self.time_bias = nn.Parameter(bias)

    def branch(
        self,
        x: Tensor,
        encoding: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        """Compute the residual branch: (B, T, N, C) -> (B, T, N, C).

        Args:
            x (Tensor): Features (B, T, N, C).
            encoding (Tensor, optional): Added to the normalised features.
                Defaults to None.
            segments (Tensor, optional): See `logit_bias`. Defaults to None.
        """
        self._check_frames(x)
        x = self._encode(self.norm(x), encoding)
        x = self.attn(x, dim=1, bias=self.logit_bias(segments))
        return self.temporal_fc(self._drop_positions(x))

    def _check_frames(self, x: Tensor) -> None:
        if self.time_bias is None:
            return
        num_frames = self.time_bias.shape[1] // 2 + 1
        if num_frames != x.shape[1]:
            raise ValueError(
                f'Expected clips of {num_frames} frames, the '
                f'num_frames of the time biases, got {x.shape[1]}. Set '
                'num_frames of the temporal module to it.'
            )

    def _encode(self, x: Tensor, encoding: Tensor | None) -> Tensor:
        # x may be in half precision.
        return x if encoding is None else x + encoding.to(x.dtype)

    def logit_bias(
        self,
        segments: Tensor | None = None,
        heads: slice = slice(None),
    ) -> Tensor | None:
        """Return the bias of the attention logits, or a mask.

        Args:
            segments (Tensor, optional): int64 of shape (B, T, N): frames see
                each other if their numbers are equal. Defaults to None: all
                frames do.
            heads (slice): The heads. Defaults to all.

        Returns:
            Tensor | None: (heads, T, T), (B*N, heads, T, T) or a bool mask
            (B*N, 1, T, T); see `SelfAttention.attend`.
        """
        bias = None
        if self.time_bias is not None:
            bias = _unfold(self.time_bias[heads])
        if segments is None or _all_equal(segments):
            return bias
        seen = segments[:, :, None] == segments[:, None]  # (B, T, T, N)
        seen = seen.permute(0, 3, 1, 2).flatten(0, 1)[:, None]
        if bias is None:
            return seen
        return torch.where(seen, bias, float('-inf'))

    def encode_routes(
        self,
        x: Tensor,
        grid: Grid | None,
        align: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor | None:
        """Encode the routes, or return None if ``route_encoding`` is off.

        Args:
            x (Tensor): Features (B, T, N, C), for their shape and device.
            grid (tuple[int, int], optional): Height and width of the patch
                grid.
            align (Callable, optional): Orders (B, T, N, 2) by route. Defaults
                to None: patches stay at their positions.

        Returns:
            Tensor | None: Broadcastable to (B, T, N, C).

        Raises:
            ValueError: If ``grid`` does not hold N patches.
        """
        if not self.route_encoding:
            return None
        grid = check_grid(grid, x.shape[2], 'route_encoding=True')
        positions = patch_positions(grid, x.device)[None, None].float()
        if align is not None:
            positions = align(positions.expand(*x.shape[:3], 2))
        return route_encoding(positions, grid, x.shape[-1])

    def _drop_positions(self, x: Tensor) -> Tensor:
        """Apply stochastic depth per position or route, as in TimeSformer."""
        if not self.training:
            return x
        # DropPath draws one number per sample, the first dimension: here one
        # per position, common to the frames.
        batch, _, num, _ = x.shape
        keep = self.drop_path(x.new_ones(batch * num, 1))
        return x * keep.view(batch, 1, num, 1)

    def forward(
        self,
        x: Tensor,
        position: Tensor | None = None,
        grid: Grid | None = None,
        alignment: Alignment | None = None,
    ) -> Tensor:
        """Temporal self-attention at each spatial position.

        Args:
            x (Tensor): Patch features (B, T, N, C), without class token.
            position (Tensor, optional): Not used. Defaults to None.
            grid (tuple[int, int], optional): Height and width of the patch
                grid, for ``route_encoding``. Defaults to None.
            alignment (Alignment, optional): Not used. Defaults to None.

        Returns:
            Tensor: (B, T, N, C).
        """
        return x + self.branch(x, self.encode_routes(x, grid))


def _are_slopes(slopes: object) -> bool:
    return (
        isinstance(slopes, Sequence)
        and len(slopes) > 0
        and all(is_number(m) and math.isfinite(m) for m in slopes)
    )


def _unfold(time_bias: Tensor) -> Tensor:
    """Return the bias of each two frames: (heads, 2T - 1) -> (heads, T, T)."""
    last = time_bias.shape[1] // 2  # T - 1
    time = torch.arange(last + 1, device=time_bias.device)
    # Frame t attends to frame s with the bias at index t - s + T - 1.
    return time_bias[:, time[:, None] - time + last]


def _all_equal(segments: Tensor) -> bool:
    # Without a mask the kernel is faster. Not on a GPU, where reading a value
    # would synchronise host and device, nor in a graph that is traced.
    if segments.device.type != 'cpu' or is_tracing():
        return False
    return not bool(segments.any())
