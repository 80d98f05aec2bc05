# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Temporal modules: (B, T, N, C) -> (B, T, N, C)."""

from .ata import ATA
from .attention import SelfAttention, TemporalAttention
from .averaging import TemporalAveraging
from .base import (
    AlignmentSharing,
    TemporalModule,
    build_temporal,
    build_temporal_layer,
    merge_default,
    registered_class,
)

__all__ = [
    'ATA',
    'AlignmentSharing',
    'SelfAttention',
    'TemporalAttention',
    'TemporalAveraging',
    'TemporalModule',
    'build_temporal',
    'build_temporal_layer',
    'merge_default',
    'registered_class',
]
