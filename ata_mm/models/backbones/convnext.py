# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""ConvNeXt, and ConvNeXt with temporal modules before its blocks.

Paper: "A ConvNet for the 2020s", https://arxiv.org/abs/2201.03545. Official
code, MIT licence: https://github.com/facebookresearch/ConvNeXt. Parameter
names and initialisation are the official ones. It has no classifier, returns
the feature map unless ``final_norm`` is set, and keeps feature maps in
channels-last memory format throughout, which the alignment needs too.
"""

import torch
from mmaction.registry import MODELS
from mmcv.cnn.bricks import DropPath
from mmengine.model import trunc_normal_init
from torch import Tensor, nn

from ata_mm.ops.validation import check_counts

from ..options import drop_path_rates
from ..temporal import merge_default
from .base import PretrainedBackbone, check_images, read_arch
from .wrapper.ata_backbone import ATABackbone

ARCHS = dict(
    tiny=dict(depths=[3, 3, 9, 3], channels=[96, 192, 384, 768]),
    small=dict(depths=[3, 3, 27, 3], channels=[96, 192, 384, 768]),
    base=dict(depths=[3, 3, 27, 3], channels=[128, 256, 512, 1024]),
    large=dict(depths=[3, 3, 27, 3], channels=[192, 384, 768, 1536]),
    xlarge=dict(depths=[3, 3, 27, 3], channels=[256, 512, 1024, 2048]),
)


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation of feature maps (B, C, H, W) over C.

    The result is channels-last in memory, which linear layers and the
    alignment read without a copy.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each position: (B, C, H, W) -> (B, C, H, W)."""
        x = super().forward(x.permute(0, 2, 3, 1))
        return x.permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Residual block of a depthwise 7x7 convolution and a pointwise MLP.

    Args:
        channels (int): Channels C.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.
        layer_scale_init_value (float): Initial factor of the residual branch
            (layer scale); 0 omits the parameter. Defaults to 1e-6.
    """

    def __init__(
        self,
        channels: int,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
    ) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(
            channels, channels, 7, padding=3, groups=channels
        )
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma: nn.Parameter | None = None
        if layer_scale_init_value > 0:
            self.gamma = nn.Parameter(
                torch.full((channels,), layer_scale_init_value)
            )
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block: (B, C, H, W) -> (B, C, H, W)."""
        # As in the official code, linear layers on channels-last maps instead
        # of 1x1 convolutions: equal, and faster.
        y = self.dwconv(x).permute(0, 2, 3, 1)  # (B, H, W, C)
        y = self.pwconv2(self.act(self.pwconv1(self.norm(y))))
        if self.gamma is not None:
            y = self.gamma * y
        return x + self.drop_path(y.permute(0, 3, 1, 2))


@MODELS.register_module()
class ConvNeXt(PretrainedBackbone):
    """ConvNeXt without classifier: images to the last feature map.

    ``ConvNeXt.block_pattern`` matches the names of the blocks, whose input and
    output are (B, C, H, W).

    Args:
        arch (str | dict): 'tiny', 'small', 'base', 'large', 'xlarge', or
            ``dict(depths=[...], channels=[...])``. Defaults to 'tiny'.
        in_channels (int): Channels of the image. Defaults to 3.
        drop_path_rate (float): Stochastic depth of the last block, growing
            linearly from 0 at the first. Defaults to 0.
        layer_scale_init_value (float): Initial factor of each residual branch
            (layer scale); 0 omits the parameters. Defaults to 1e-6.
        final_norm (bool): Return the input of the official classifier, the
            normalised mean of the feature map, instead of the map. Defaults
            to False.
        init_cfg (dict, optional): As in mmengine; 'Pretrained' accepts the
            checkpoints of :func:`load_pretrained`. Defaults to None.

    Raises:
        ValueError: If an option is not one of these.
    """

    block_pattern = 'stages.*.*'

    def __init__(
        self,
        arch: str | dict = 'tiny',
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        final_norm: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_counts(in_channels=in_channels)
        sizes = read_arch(arch, ARCHS)
        depths, channels = sizes['depths'], sizes['channels']
        self.in_channels = in_channels
        # The stem divides the size by 4, each further stage by 2.
        self.min_size = 2 ** (len(depths) + 1)
        self.downsample_layers = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(in_channels, channels[0], 4, stride=4),
                    LayerNorm2d(channels[0], eps=1e-6),
                )
            ]
        )
        for before, after in zip(channels, channels[1:]):
            self.downsample_layers.append(
                nn.Sequential(
                    LayerNorm2d(before, eps=1e-6),
                    nn.Conv2d(before, after, 2, stride=2),
                )
            )
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    ConvNeXtBlock(width, next(rates), layer_scale_init_value)
                    for _ in range(depth)
                )
            )
            for depth, width in zip(depths, channels)
        )
        self.norm: nn.Module | None = None
        if final_norm:
            self.norm = nn.LayerNorm(channels[-1], eps=1e-6)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                trunc_normal_init(module, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the features of images.

        Args:
            x (Tensor): (B, in_channels, H, W), H and W at least 32 for four
                stages.

        Returns:
            Tensor: (B, C, H // 32, W // 32), or (B, C, 1, 1) with
            ``final_norm``.

        Raises:
            ValueError: If x has another shape.
        """
        check_images(x, self.in_channels, self.min_size)
        for downsample, stage in zip(self.downsample_layers, self.stages):
            x = stage(downsample(x))
        if self.norm is None:
            return x
        # A map of one position, as heads and necks expect maps.
        return self.norm(x.mean((2, 3)))[:, :, None, None]


@MODELS.register_module()
class ATAConvNeXt(ATABackbone):
    """`ConvNeXt` on frames, with a temporal module before each block.

    Args:
        num_frames (int): Frames per clip, T.
        arch (str | dict): Size of the `ConvNeXt`. Defaults to 'base'.
        drop_path_rate (float): Stochastic depth of the last block and of the
            temporal module before it, growing linearly from 0 at the first.
            Defaults to 0.
        final_norm (bool): Return the normalised mean of each frame's feature
            map instead of the map. Defaults to False.
        temporal (dict): The temporal module; without ``type``, options that
            change the default. Defaults to
            ``dict(type='ATA')``, as in the paper.
        **options: Other arguments of `ATABackbone`, except
            ``image_backbone``, ``blocks`` and ``layout``.

    Raises:
        TypeError: If an option is unknown.
        ValueError: As `ConvNeXt` and `ATABackbone`.
    """

    def __init__(
        self,
        num_frames: int,
        arch: str | dict = 'base',
        drop_path_rate: float = 0.0,
        final_norm: bool = False,
        temporal: dict | None = None,
        **options,
    ) -> None:
        image_backbone = dict(
            type=ConvNeXt,
            arch=arch,
            drop_path_rate=drop_path_rate,
            final_norm=final_norm,
        )
        super().__init__(
            image_backbone,
            ConvNeXt.block_pattern,
            num_frames,
            layout='NCHW',
            # As in the paper: without ATABackbone's default route encoding.
            temporal=merge_default(temporal, type='ATA'),
            drop_path_rate=drop_path_rate,
            **options,
        )
