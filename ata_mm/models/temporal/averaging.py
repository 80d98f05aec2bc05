# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Temporal modelling by averaging: frames meet at the end of the network."""
from typing import Optional, Tuple

from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from ata_mm.ops import Alignment


@MODELS.register_module()
class TemporalAveraging(BaseModule):
    """No exchange between frames inside the network ("Averaging", Table 3).

    The image model sees every frame by itself, and the backbone or head
    averages the frames' features at the end, as TSN does. Takes the arguments
    that every temporal module gets, and has no parameter.

    Args:
        embed_dims (int): Channels C. Not used.
        num_heads (int): Number of heads. Not used.
        drop_path_rate (float): Not used. Defaults to 0.
        num_frames (int, optional): Not used. Defaults to None.
        init_cfg (dict, optional): As in mmengine. Defaults to None.
    """

    mixes_frames = False

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
        """(B, T, N, C) -> the same tensor; other arguments are not used."""
        return x
