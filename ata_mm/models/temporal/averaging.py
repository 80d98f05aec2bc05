# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Temporal modelling by averaging at the end of the network."""
from typing import Optional

from mmaction.registry import MODELS

from .base import TemporalModule


@MODELS.register_module()
class TemporalAveraging(TemporalModule):
    """Leave the frames apart inside the network ("Averaging", Table 3).

    The image model processes every frame independently, and the backbone or
    the head averages their features at the end, as in TSN. Takes the arguments
    of every temporal module and has no parameter.

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
