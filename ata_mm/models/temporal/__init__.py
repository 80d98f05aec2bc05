# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Temporal modules: (B, T, N, C) -> (B, T, N, C), one signature."""
from .ata import ATA
from .attention import TemporalAttention
from .averaging import TemporalAveraging

__all__ = ['ATA', 'TemporalAttention', 'TemporalAveraging']
