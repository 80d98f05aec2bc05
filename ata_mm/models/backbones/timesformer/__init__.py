# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""TimeSformer with ATA and other temporal modules."""

from .joint import JointAttention
from .timesformer import ATATimeSformer, DividedBlock, TimeSformerBlock

__all__ = [
    'ATATimeSformer',
    'DividedBlock',
    'JointAttention',
    'TimeSformerBlock',
]
