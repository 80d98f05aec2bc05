# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""CycleMLP, an image model.

Paper: "CycleMLP: A MLP-like Architecture for Dense Prediction",
https://arxiv.org/abs/2107.10224. Official code, whose parameter names are
kept: https://github.com/ShoufaChen/CycleMLP.
"""
from typing import Optional, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmcv.cnn.bricks import DropPath
from mmengine.model import trunc_normal_init
from torch import Tensor, nn

from .base import PretrainedBackbone, check_images, read_arch
from .timesformer.timesformer import Mlp
from .wrapper.ata_backbone import ATABackbone

ARCHS = dict(
    b1=dict(
        depths=[2, 2, 4, 2],
        channels=[64, 128, 320, 512],
        mlp_ratios=[4, 4, 4, 4]),
    b2=dict(
        depths=[2, 3, 10, 3],
        channels=[64, 128, 320, 512],
        mlp_ratios=[4, 4, 4, 4]),
    b3=dict(
        depths=[3, 4, 18, 3],
        channels=[64, 128, 320, 512],
        mlp_ratios=[8, 8, 4, 4]),
    b4=dict(
        depths=[3, 8, 27, 3],
        channels=[64, 128, 320, 512],
        mlp_ratios=[8, 8, 4, 4]),
    b5=dict(
        depths=[3, 4, 24, 3],
        channels=[96, 192, 384, 768],
        mlp_ratios=[4, 4, 4, 4]))


class _CycleShift(torch.autograd.Function):
    """See :func:`cycle_shift`; the gradient is shifted back."""

    @staticmethod
    def forward(ctx, x: Tensor, dim: int, step: int) -> Tensor:
        ctx.dim, ctx.step = dim, step
        last = x.shape[dim] - 1
        out = x.clone()
        # The first channel to look ahead, and the first to look behind.
        ahead, behind = (1, 2) if step == 1 else (2, 1)
        for first, to, start in ((ahead, 0, 1), (behind, 1, 0)):
            source, target = x[..., first::3], out[..., first::3]
            target.narrow(dim, to, last).copy_(source.narrow(dim, start, last))
            target.select(dim, last * start).zero_()
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tuple[Tensor, None, None]:
        return _CycleShift.apply(grad, ctx.dim, -ctx.step), None, None


def cycle_shift(x: Tensor, dim: int) -> Tensor:
    """Let channel c see its neighbour at offset (0, 1, -1)[c % 3].

    ``out[..., i, ..., c] = x[..., i + offset, ..., c]``, and 0 where that is
    outside.

    Args:
        x (Tensor): Features (B, H, W, C).
        dim (int): The axis to look along: 1 for H, 2 for W.

    Returns:
        Tensor: (B, H, W, C), to the bit the numbers of x.
    """
    return _CycleShift.apply(x, dim, 1)


class CycleFC(nn.Conv2d):
    """A 1x1 convolution over channels that are each shifted along one axis.

    Args:
        channels (int): Channels C, in and out.
        dim (int): The axis of (B, H, W, C) to look along, 1 or 2.
    """

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__(channels, channels, 1)
        self.dim = dim
        # Checkpoints have the offsets; with them our keys are the official.
        self.register_buffer('offset', self.offsets())

    def offsets(self) -> Tensor:
        """Row and column offset of each channel in turn: (1, 2C, 1, 1)."""
        offsets = torch.zeros(self.in_channels, 2)
        offsets[1::3, self.dim - 1] = 1
        offsets[2::3, self.dim - 1] = -1
        return offsets.view(1, -1, 1, 1)

    def check_offset(self, state_dict: dict, prefix: str) -> None:
        """Refuse other offsets than ours, which would go unheeded.

        Args:
            state_dict (dict): What is about to be loaded; not changed.
            prefix (str): What the keys of this layer have in front.

        Raises:
            ValueError: If it has other offsets for this layer.
        """
        expected = self.offsets()
        offset = state_dict.get(f'{prefix}offset', expected)
        if offset.shape == expected.shape and not torch.equal(
                offset.to(expected), expected):
            raise ValueError(
                f'Expected {prefix}offset to cycle through 0, 1, -1 along the '
                'axis of this layer, as in every published CycleMLP, got '
                f'(row, column) {offset.view(-1, 2)[:3].tolist()}, ... .')

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args,
                              **kwargs) -> None:
        """Do without offsets where a checkpoint has none."""
        self.check_offset(state_dict, prefix)
        state_dict.setdefault(f'{prefix}offset', self.offsets())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        shifted = cycle_shift(x, self.dim)
        return F.linear(shifted, self.weight.flatten(1), self.bias)


class CycleMixer(nn.Module):
    """Features of a row, of a column and of the place, weighted and summed.

    Args:
        channels (int): Channels C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp_c = nn.Linear(channels, channels, bias=False)
        # Named in the official code by the kernel, (1, 3) and (3, 1).
        self.sfc_h = CycleFC(channels, dim=2)
        self.sfc_w = CycleFC(channels, dim=1)
        self.reweight = Mlp(channels, channels // 4, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        row, column, place = self.sfc_h(x), self.sfc_w(x), self.mlp_c(x)
        mean = (row + column + place).mean((1, 2))  # (B, C)
        weights = self.reweight(mean).unflatten(1, (-1, 3))  # (B, C, 3)
        weights = weights.softmax(-1)[:, None, None]  # (B, 1, 1, C, 3)
        a, b, c = weights.unbind(-1)
        return self.proj(row * a + column * b + place * c)


class CycleBlock(nn.Module):
    """CycleFC mixing between places, then an MLP for each place.

    Args:
        channels (int): Channels C.
        mlp_ratio (int): Hidden channels of the MLP, in multiples of C.
            Defaults to 4.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.
    """

    def __init__(self,
                 channels: int,
                 mlp_ratio: int = 4,
                 drop_path_rate: float = 0.) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = CycleMixer(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, mlp_ratio * channels)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class ConvProjection(nn.Module):
    """A convolution named ``proj``, of maps whose channels come last.

    Args:
        args: Arguments of :class:`torch.nn.Conv2d`.
    """

    def __init__(self, *args: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(*args)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H', W', C')."""
        return self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@MODELS.register_module()
class CycleMLP(PretrainedBackbone):
    """The feature maps of CycleMLP, normalised.

    ``CycleMLP.block_pattern`` names the blocks, segment by segment as in
    :mod:`fnmatch`, which take and return (B, H, W, C). ``network.*.*`` would
    name the convolutions between the stages too, ``network.1.proj``.

    Args:
        arch (str | dict): 'b1' to 'b5', or ``dict(depths=[...],
            channels=[...], mlp_ratios=[...])``, the last of which defaults to
            4 in each stage. Defaults to 'b1'.
        in_channels (int): Channels of the image. Defaults to 3.
        drop_path_rate (float): Stochastic depth of the last block, growing
            linearly from 0 at the first. Defaults to 0.
        init_cfg (dict, optional): As in mmengine; 'Pretrained' takes what
            :func:`load_pretrained` does. Defaults to None.

    Raises:
        ValueError: If arch is none of these.
    """

    block_pattern = 'network.*.[0-9]*'

    def __init__(self,
                 arch: Union[str, dict] = 'b1',
                 in_channels: int = 3,
                 drop_path_rate: float = 0.,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        sizes = read_arch(arch, ARCHS, optional=('mlp_ratios', ))
        depths, channels = sizes['depths'], sizes['channels']
        ratios = sizes.get('mlp_ratios', [4] * len(depths))
        self.in_channels = in_channels
        self.patch_embed = ConvProjection(in_channels, channels[0], 7, 4, 2)
        rates = iter(np.linspace(0, drop_path_rate, sum(depths)).tolist())
        self.network = nn.ModuleList()
        for i, (depth, width) in enumerate(zip(depths, channels)):
            if i > 0:
                self.network.append(
                    ConvProjection(channels[i - 1], width, 3, 2, 1))
            self.network.append(
                nn.Sequential(*(CycleBlock(width, ratios[i], next(rates))
                                for _ in range(depth))))
        self.norm = nn.LayerNorm(channels[-1])
        # Convolutions between stages keep torch's start, as officially.
        for module in self.modules():
            if isinstance(module, (nn.Linear, CycleFC)):
                trunc_normal_init(module, std=0.02)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args,
                              **kwargs) -> None:
        """Check all layers before the first is loaded, so that a refusal
        leaves the model as it was."""
        for name, module in self.named_modules():
            if isinstance(module, CycleFC):
                module.check_offset(state_dict, f'{prefix}{name}.')
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """Images to feature maps.

        Args:
            x (Tensor): (B, in_channels, H, W), of 3 pixels a side or more.

        Returns:
            Tensor: (B, C, H', W'), with four stages H / 32 and W / 32 where
            these are whole.

        Raises:
            ValueError: If x has another shape.
        """
        check_images(x, self.in_channels, smallest=3)
        x = self.patch_embed(x.permute(0, 2, 3, 1))
        x = x.contiguous()  # or else the whole first stage is strided
        for part in self.network:
            x = part(x)
        return self.norm(x).permute(0, 3, 1, 2)


@MODELS.register_module()
class ATACycleMLP(ATABackbone):
    """`ATABackbone` around `CycleMLP`.

    Args:
        num_frames (int): Frames a clip, T.
        arch (str | dict): Size of the `CycleMLP`. Defaults to 'b5'.
        drop_path_rate (float): Stochastic depth of the last block and of the
            temporal module before it, growing linearly from 0 at the first.
            Defaults to 0.
        temporal (dict): The temporal module. Defaults to
            ``dict(type='ATA')``, the paper's.
        options: Other arguments of `ATABackbone`.

    Raises:
        ValueError: As `CycleMLP` and `ATABackbone`.
    """

    def __init__(self,
                 num_frames: int,
                 arch: Union[str, dict] = 'b5',
                 drop_path_rate: float = 0.,
                 temporal: Optional[dict] = None,
                 **options) -> None:
        image_backbone = dict(
            type=CycleMLP, arch=arch, drop_path_rate=drop_path_rate)
        super().__init__(
            image_backbone,
            CycleMLP.block_pattern,
            num_frames,
            layout='NHWC',
            temporal=temporal or dict(type='ATA'),
            drop_path_rate=drop_path_rate,
            **options)
