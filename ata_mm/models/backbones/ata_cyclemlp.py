# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""CycleMLP with a temporal module before each block."""
from typing import Optional, Union

from mmaction.registry import MODELS

from .ata_backbone import ATABackbone
from .cyclemlp import CycleMLP


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
