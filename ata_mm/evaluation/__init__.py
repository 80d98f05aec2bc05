# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Metrics for MMAction2's evaluators, and the hooks that measure for them.

Also compares routes with known motion: see ``tools/benchmark_routes.py``.
"""

from .accuracy_by_speed import AccuracyBySpeed
from .known_motion import LayeredClip, MovingClip, StereoPair
from .motion_suite import MotionSuite
from .mutual_information import MutualInformation, MutualInformationHook
from .patch_features import patch_features
from .routes import (
    RouteCount,
    count_followed,
    in_place,
    nearest_neighbour,
    route_positions,
)

__all__ = [
    'AccuracyBySpeed',
    'LayeredClip',
    'MotionSuite',
    'MovingClip',
    'MutualInformation',
    'MutualInformationHook',
    'RouteCount',
    'StereoPair',
    'count_followed',
    'in_place',
    'nearest_neighbour',
    'patch_features',
    'route_positions',
]
