# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""ConvNeXt with a temporal module before each block."""
from typing import Optional, Union

from mmaction.registry import MODELS

from .ata_backbone import ATABackbone
from .convnext import ConvNeXt


@MODELS.register_module()
class ATAConvNeXt(ATABackbone):
    """`ATABackbone` around `ConvNeXt`.

    Args:
        num_frames (int): Frames a clip, T.
        arch (str | dict): Size of the `ConvNeXt`. Defaults to 'base'.
        drop_path_rate (float): Stochastic depth of the last block and of the
            temporal module before it, growing linearly from 0 at the first.
            Defaults to 0.
        final_norm (bool): Return what the official classifier takes, the
            normalised mean over each frame. Defaults to False, the last
            feature map.
        temporal (dict): The temporal module. Defaults to
            ``dict(type='ATA')``, the paper's.
        options: Other arguments of `ATABackbone`.

    Raises:
        ValueError: As `ConvNeXt` and `ATABackbone`.
    """

    def __init__(self,
                 num_frames: int,
                 arch: Union[str, dict] = 'base',
                 drop_path_rate: float = 0.,
                 final_norm: bool = False,
                 temporal: Optional[dict] = None,
                 **options) -> None:
        image_backbone = dict(
            type=ConvNeXt,
            arch=arch,
            drop_path_rate=drop_path_rate,
            final_norm=final_norm)
        super().__init__(
            image_backbone,
            ConvNeXt.block_pattern,
            num_frames,
            layout='NCHW',
            temporal=temporal or dict(type='ATA'),
            drop_path_rate=drop_path_rate,
            **options)
