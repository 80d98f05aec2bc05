# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Joint space-time attention: all patches of a clip in one attention.

Paper: "Is Space-Time Attention All You Need for Video Understanding?"
https://arxiv.org/abs/2102.05095, Sec. 3; Table 6 of the ATA paper.
"""
from typing import Optional, Tuple

from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from ata_mm.ops import Alignment


@MODELS.register_module()
class JointAttention(BaseModule):
    """Let the spatial attention of a block see all frames ("Joint", Table 6).

    Only says so: the block reads ``joins_frames`` and hands its own attention
    the T*N patches of a clip and one class token. No parameter and no layer,
    at O(T^2 N^2 C) instead of O(T N^2 C) a block. For ``ATATimeSformer``;
    an image block that is not made of attention over tokens cannot widen.

    Args:
        embed_dims (int): Channels C. Not used.
        num_heads (int): Number of heads. Not used.
        drop_path_rate (float): Not used. Defaults to 0.
        num_frames (int, optional): Not used. Defaults to None.
        init_cfg (dict, optional): As in mmengine. Defaults to None.
    """

    mixes_frames = True
    joins_frames = True

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 drop_path_rate: float = 0.,
                 num_frames: Optional[int] = None,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)

    def forward(self,
                x: Tensor,
                position: Optional[Tensor] = None,
                grid: Optional[Tuple[int, int]] = None,
                alignment: Optional[Alignment] = None) -> Tensor:
        """Refuse: a block that calls this does not know joint attention.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            'Expected JointAttention in a block that widens its own spatial '
            'attention, as ATATimeSformer has, but this backbone calls it as '
            'a layer, and it has none. Use another temporal module here: '
            'TemporalAveraging, TemporalAttention or ATA.')
