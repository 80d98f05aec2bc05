# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Video backbones."""
from .ata_backbone import ATABackbone
from .ata_convnext import ATAConvNeXt
from .ata_cyclemlp import ATACycleMLP
from .ata_timesformer import ATATimeSformer
from .convnext import ConvNeXt
from .cyclemlp import CycleMLP

__all__ = [
    'ATABackbone', 'ATAConvNeXt', 'ATACycleMLP', 'ATATimeSformer', 'ConvNeXt',
    'CycleMLP'
]
