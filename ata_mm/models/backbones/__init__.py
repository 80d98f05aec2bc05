# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Video backbones with temporal modules, and their image models."""

from .convnext import ATAConvNeXt, ConvNeXt
from .cyclemlp import ATACycleMLP, CycleMLP
from .timesformer import ATATimeSformer, JointAttention
from .wrapper import ATABackbone

__all__ = [
    'ATABackbone',
    'ATAConvNeXt',
    'ATACycleMLP',
    'ATATimeSformer',
    'ConvNeXt',
    'CycleMLP',
    'JointAttention',
]
