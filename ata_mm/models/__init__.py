# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Models, registered in ``mmaction.registry.MODELS`` on import."""

from .backbones import (
    ATABackbone,
    ATAConvNeXt,
    ATACycleMLP,
    ATATimeSformer,
    ConvNeXt,
    CycleMLP,
    JointAttention,
)
from .controls import GivenRoutesATA, RandomMatcher, TrueMotionTimeSformer
from .necks import ATANeck
from .temporal import ATA, TemporalAttention, TemporalAveraging, TemporalModule

__all__ = [
    'ATA',
    'ATABackbone',
    'ATAConvNeXt',
    'ATACycleMLP',
    'ATANeck',
    'ATATimeSformer',
    'ConvNeXt',
    'CycleMLP',
    'GivenRoutesATA',
    'JointAttention',
    'RandomMatcher',
    'TemporalAttention',
    'TemporalAveraging',
    'TemporalModule',
    'TrueMotionTimeSformer',
]
