# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Models; importing this registers them in ``mmaction.registry.MODELS``."""
from .backbones import (ATABackbone, ATAConvNeXt, ATACycleMLP, ATATimeSformer,
                        ConvNeXt, CycleMLP)
from .necks import ATANeck
from .temporal import ATA, JointAttention, TemporalAttention, TemporalAveraging

__all__ = [
    'ATA', 'ATABackbone', 'ATAConvNeXt', 'ATACycleMLP', 'ATANeck',
    'ATATimeSformer', 'ConvNeXt', 'CycleMLP', 'JointAttention',
    'TemporalAttention', 'TemporalAveraging'
]
