# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Temporal modules: (B, T, N, C) -> (B, T, N, C), one signature.

A module of your own is registered in ``mmaction.registry.MODELS``, is built
with ``embed_dims, num_heads, num_frames, drop_path_rate`` besides what its
config says, is called as ``module(x, position, grid, alignment)``, and has the
attribute ``mixes_frames``: False where frames do not see each other. One that
has a method ``alignment`` is handed its result, which it may share with other
blocks (see :class:`AlignmentSharing`); others are handed None. One that has
``joins_frames = True`` is not called: the block hands all patches of a clip to
its own spatial attention (see :class:`JointAttention`).
"""
from .ata import ATA
from .attention import TemporalAttention
from .averaging import TemporalAveraging
from .building import build_temporal, build_temporal_layer
from .joint import JointAttention
from .sharing import AlignmentSharing

__all__ = [
    'ATA', 'AlignmentSharing', 'JointAttention', 'TemporalAttention',
    'TemporalAveraging', 'build_temporal', 'build_temporal_layer'
]
