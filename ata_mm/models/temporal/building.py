# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""From the config of a temporal module to the module."""
from typing import Optional

from mmaction.registry import MODELS
from torch import nn


def build_temporal(cfg: dict,
                   embed_dims: int,
                   num_heads: int,
                   num_frames: Optional[int] = None,
                   drop_path_rate: float = 0.) -> nn.Module:
    """Build a temporal module, whatever the default scope of the run is.

    Args:
        cfg (dict): Its config, whose own settings win over the rest.
        embed_dims (int): Channels C.
        num_heads (int): Number of heads.
        num_frames (int, optional): Frames a clip, T. Defaults to None.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.
    """
    given = dict(
        embed_dims=embed_dims,
        num_heads=num_heads,
        num_frames=num_frames,
        drop_path_rate=drop_path_rate)
    return MODELS.build({'_scope_': 'mmaction', **cfg}, default_args=given)


def build_temporal_layer(cfg: dict,
                         embed_dims: int,
                         head_dims: int,
                         num_frames: Optional[int] = None,
                         drop_path_rate: float = 0.) -> nn.Module:
    """Build a temporal module that stands by itself, in no ViT block.

    Args:
        cfg (dict): See :func:`build_temporal`.
        embed_dims (int): Channels C.
        head_dims (int): Channels of a head; there are C / head_dims heads,
            unless ``cfg`` has ``num_heads``.
        num_frames (int, optional): See :func:`build_temporal`. Defaults to
            None.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.

    Raises:
        ValueError: If the module is no layer, as `JointAttention`, or
            ``head_dims`` does not divide ``embed_dims``.
    """
    whole = head_dims > 0 and embed_dims % head_dims == 0
    module = build_temporal(cfg, embed_dims,
                            embed_dims // head_dims if whole else 1,
                            num_frames, drop_path_rate)
    if getattr(module, 'joins_frames', False):
        raise ValueError(
            f'Expected a temporal module that is a layer, got {cfg}, which '
            'widens the spatial attention of ATATimeSformer. Use '
            'TemporalAveraging, TemporalAttention or ATA here.')
    if module.mixes_frames and not whole and 'num_heads' not in cfg:
        raise ValueError(
            'Expected head_dims to divide the channels of every block, got '
            f'head_dims={head_dims} and a block of {embed_dims} channels. Set '
            'head_dims to a common divisor of the channels.')
    return module
