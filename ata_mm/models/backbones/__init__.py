# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Video backbones."""
from .ata_timesformer import ATATimeSformer
from .convnext import ConvNeXt
from .cyclemlp import CycleMLP

__all__ = ['ATATimeSformer', 'ConvNeXt', 'CycleMLP']
