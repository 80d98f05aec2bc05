# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""CycleMLP, and CycleMLP with temporal modules before its blocks.

Paper: "CycleMLP: A MLP-like Architecture for Dense Prediction",
https://arxiv.org/abs/2107.10224. Official code, MIT licence:
https://github.com/ShoufaChen/CycleMLP. Parameter names and initialisation are
the official ones. It has no classifier, returns the feature map, and shifts
channels by copies where the official code uses torchvision's deformable
convolution: the offsets are constant integers.
"""

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmcv.cnn.bricks import DropPath
from mmengine.model import trunc_normal_init
from torch import Tensor, nn

from ata_mm.ops.validation import check_counts

from ..layers import Mlp
from ..options import drop_path_rates
from ..temporal import merge_default
from .base import PretrainedBackbone, check_images, read_arch
from .wrapper.ata_backbone import ATABackbone

ARCHS = dict(
    b1=dict(
        depths=[2, 2, 4, 2],
        channels=[64, 128, 320, 512],
        mlp_ratios=[4, 4, 4, 4],
    ),
    b2=dict(
        depths=[2, 3, 10, 3],
        channels=[64, 128, 320, 512],
        mlp_ratios=[4, 4, 4, 4],
    ),
    b3=dict(
        depths=[3, 4, 18, 3],
        channels=[64, 128, 320, 512],
        mlp_ratios=[8, 8, 4, 4],
    ),
    b4=dict(
        depths=[3, 8, 27, 3],
        channels=[64, 128, 320, 512],
        mlp_ratios=[8, 8, 4, 4],
    ),
    b5=dict(
        depths=[3, 4, 24, 3],
        channels=[96, 192, 384, 768],
        mlp_ratios=[4, 4, 4, 4],
    ),
)


class _CycleShift(torch.autograd.Function):
    """Autograd function of :func:`cycle_shift`.

    Its backward pass is the opposite shift, with a single copy of the
    gradient; autograd through the in-place operations would copy it for each.
    """

    @staticmethod
    def forward(x: Tensor, dim: int, step: int) -> Tensor:
        """Shift one third of the channels by step, one third by -step."""
        last = x.shape[dim] - 1
        out = x.clone()
        # The first channels with offset 1 and -1; every third one follows.
        ahead, behind = (1, 2) if step == 1 else (2, 1)
        for first, to, start in ((ahead, 0, 1), (behind, 1, 0)):
            source, target = x[..., first::3], out[..., first::3]
            target.narrow(dim, to, last).copy_(source.narrow(dim, start, last))
            target.select(dim, last * start).zero_()
        return out

    @staticmethod
    def setup_context(  # apart, for torch.func
        ctx, inputs: tuple[Tensor, int, int], output: Tensor
    ) -> None:
        """Keep axis and step."""
        _, ctx.dim, ctx.step = inputs

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        """Shift the gradient back."""
        return _CycleShift.apply(grad, ctx.dim, -ctx.step), None, None


def cycle_shift(x: Tensor, dim: int) -> Tensor:
    """Shift channel c along one axis by the offset (0, 1, -1)[c % 3].

    ``out[..., i, ..., c] = x[..., i + offset, ..., c]``, and 0 outside of the
    map.

    Args:
        x (Tensor): Features (B, H, W, C).
        dim (int): Axis of the shift: 1 for H, 2 for W.

    Returns:
        Tensor: (B, H, W, C), with bitwise copies of the values of x.
    """
    return _CycleShift.apply(x, dim, 1)


class CycleFC(nn.Conv2d):
    """Pointwise linear layer on channels shifted along one axis.

    A convolution by its parameters, whose names and shapes are the official
    ones.

    Args:
        channels (int): Channels C of input and output.
        dim (int): Axis of the shift in (B, H, W, C), 1 or 2.
    """

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__(channels, channels, 1)
        self.dim = dim
        # Not used by `forward`. Official checkpoints contain this buffer, and
        # the state_dict keys are to be the same.
        self.register_buffer('offset', self.offsets())

    def offsets(self) -> Tensor:
        """Return the row and column offset of each channel: (1, 2C, 1, 1)."""
        offsets = torch.zeros(self.in_channels, 2)
        offsets[1::3, self.dim - 1] = 1
        offsets[2::3, self.dim - 1] = -1
        return offsets.view(1, -1, 1, 1)

    def check_offset(self, state_dict: dict, prefix: str) -> None:
        """Raise if the checkpoint's offsets differ from the fixed pattern.

        Args:
            state_dict (dict): The checkpoint; not changed.
            prefix (str): Prefix of the keys of this layer.

        Raises:
            ValueError: If the offsets of this layer differ.
        """
        expected = self.offsets()
        offset = state_dict.get(f'{prefix}offset', expected)
        if offset.shape == expected.shape and not torch.equal(
            offset.to(expected), expected
        ):
            raise ValueError(
                f'Expected {prefix}offset to repeat 0, 1, -1 along the axis '
                'of this layer, as in every published CycleMLP, got (row, '
                f'column) {offset.view(-1, 2)[:3].tolist()}, … .'
            )

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args, **kwargs
    ) -> None:
        # Checkpoints without offsets load too.
        self.check_offset(state_dict, prefix)
        state_dict.setdefault(f'{prefix}offset', self.offsets())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer: (B, H, W, C) -> (B, H, W, C)."""
        shifted = cycle_shift(x, self.dim)
        return F.linear(shifted, self.weight.flatten(1), self.bias)


class CycleMixer(nn.Module):
    """Weighted sum of features along rows, along columns and at the position.

    Args:
        channels (int): Channels C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp_c = nn.Linear(channels, channels, bias=False)
        # The official names refer to the kernels (1, 3) and (3, 1), not to
        # the axis of the shift.
        self.sfc_h = CycleFC(channels, dim=2)
        self.sfc_w = CycleFC(channels, dim=1)
        self.reweight = Mlp(channels, channels // 4, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Mix positions: (B, H, W, C) -> (B, H, W, C)."""
        row, column, point = self.sfc_h(x), self.sfc_w(x), self.mlp_c(x)
        # One weight per branch and channel, the same at all positions.
        mean = (row + column + point).mean((1, 2))  # (B, C)
        weights = self.reweight(mean).unflatten(1, (-1, 3))  # (B, C, 3)
        weights = weights.softmax(-1)[:, None, None]  # (B, 1, 1, C, 3)
        a, b, c = weights.unbind(-1)
        return self.proj(row * a + column * b + point * c)


class CycleBlock(nn.Module):
    """Residual block of a `CycleMixer` and a pointwise MLP.

    Args:
        channels (int): Channels C.
        mlp_ratio (int): Hidden channels of the MLP in multiples of C.
            Defaults to 4.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.
    """

    def __init__(
        self, channels: int, mlp_ratio: int = 4, drop_path_rate: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = CycleMixer(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, mlp_ratio * channels)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block: (B, H, W, C) -> (B, H, W, C)."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class ConvProjection(nn.Module):
    """Convolution of channels-last maps, with the official name ``proj``.

    Args:
        in_channels (int): Channels C of the input.
        out_channels (int): Channels C' of the output.
        kernel_size (int): Side length of the kernel.
        stride (int): Stride.
        padding (int): Zeros added on each side.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        padding: int,
    ) -> None:
        super().__init__()
        self.proj = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution: (B, H, W, C) -> (B, H', W', C')."""
        return self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@MODELS.register_module()
class CycleMLP(PretrainedBackbone):
    """CycleMLP without classifier: images to the normalised feature map.

    ``CycleMLP.block_pattern`` matches the names of the blocks, whose input and
    output are (B, H, W, C). ``network.*.*`` would also match the convolutions
    between the stages, ``network.1.proj``.

    Args:
        arch (str | dict): 'b1' to 'b5', or ``dict(depths=[...],
            channels=[...], mlp_ratios=[...])``, the last being 4 in each stage
            unless given. Defaults to 'b1'.
        in_channels (int): Channels of the image. Defaults to 3.
        drop_path_rate (float): Stochastic depth of the last block, growing
            linearly from 0 at the first. Defaults to 0.
        init_cfg (dict, optional): As in mmengine; 'Pretrained' accepts the
            checkpoints of :func:`load_pretrained`. Defaults to None.

    Raises:
        ValueError: If an option is not one of these.
    """

    block_pattern = 'network.*.[0-9]*'

    def __init__(
        self,
        arch: str | dict = 'b1',
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_counts(in_channels=in_channels)
        sizes = read_arch(arch, ARCHS, optional=('mlp_ratios',))
        depths, channels = sizes['depths'], sizes['channels']
        ratios = sizes.get('mlp_ratios', [4] * len(depths))
        self.in_channels = in_channels
        self.patch_embed = ConvProjection(in_channels, channels[0], 7, 4, 2)
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        self.network = nn.ModuleList()
        for i, (depth, width) in enumerate(zip(depths, channels)):
            if i > 0:
                self.network.append(
                    ConvProjection(channels[i - 1], width, 3, 2, 1)
                )
            self.network.append(
                nn.Sequential(
                    *(
                        CycleBlock(width, ratios[i], next(rates))
                        for _ in range(depth)
                    )
                )
            )
        self.norm = nn.LayerNorm(channels[-1])
        # As in the official code, convolutions between stages keep torch's
        # default initialisation.
        for module in self.modules():
            if isinstance(module, (nn.Linear, CycleFC)):
                trunc_normal_init(module, std=0.02)

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, *args, **kwargs
    ) -> None:
        # All offsets are checked before the first layer is loaded: an error
        # leaves the model unchanged.
        for name, module in self.named_modules():
            if isinstance(module, CycleFC):
                module.check_offset(state_dict, f'{prefix}{name}.')
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the feature maps of images.

        Args:
            x (Tensor): (B, in_channels, H, W), H and W at least 3.

        Returns:
            Tensor: (B, C, H', W'); with four stages H / 32 and W / 32, if
            these are integers.

        Raises:
            ValueError: If x has another shape.
        """
        check_images(x, self.in_channels, min_size=3)
        x = self.patch_embed(x.permute(0, 2, 3, 1))
        # Without the copy, all maps of the first stage would have the strides
        # of the convolution's output (B, C, H, W).
        x = x.contiguous()
        for module in self.network:  # stages and convolutions between them
            x = module(x)
        return self.norm(x).permute(0, 3, 1, 2)


@MODELS.register_module()
class ATACycleMLP(ATABackbone):
    """`CycleMLP` on frames, with a temporal module before each block.

    Args:
        num_frames (int): Frames per clip, T.
        arch (str | dict): Size of the `CycleMLP`. Defaults to 'b5'.
        drop_path_rate (float): Stochastic depth of the last block and of the
            temporal module before it, growing linearly from 0 at the first.
            Defaults to 0.
        temporal (dict): The temporal module; without ``type``, options that
            change the default. Defaults to
            ``dict(type='ATA')``, as in the paper.
        **options: Other arguments of `ATABackbone`, except
            ``image_backbone``, ``blocks`` and ``layout``.

    Raises:
        TypeError: If an option is unknown.
        ValueError: As `CycleMLP` and `ATABackbone`.
    """

    def __init__(
        self,
        num_frames: int,
        arch: str | dict = 'b5',
        drop_path_rate: float = 0.0,
        temporal: dict | None = None,
        **options,
    ) -> None:
        image_backbone = dict(
            type=CycleMLP, arch=arch, drop_path_rate=drop_path_rate
        )
        super().__init__(
            image_backbone,
            CycleMLP.block_pattern,
            num_frames,
            layout='NHWC',
            # As in the paper: without ATABackbone's default route encoding.
            temporal=merge_default(temporal, type='ATA'),
            drop_path_rate=drop_path_rate,
            **options,
        )
