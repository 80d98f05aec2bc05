# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Video backbones."""
from .ata_timesformer import ATATimeSformer

__all__ = ['ATATimeSformer']
