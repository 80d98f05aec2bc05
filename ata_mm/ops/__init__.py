# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment of patch features (B, T, N, C), without OpenMMLab imports."""

from .align import align_frames
from .alignment import Alignment, DisplacementAlignment, SoftAlignment
from .matching import (
    AutoMatcher,
    CoarseToFineMatcher,
    DisplacementMatcher,
    ExactMatcher,
    LocalMatcher,
    Matcher,
    Matching,
    MatchingCache,
    SinkhornMatcher,
    neighbour_similarity,
)
from .mutual_information import (
    mutual_information,
    positionwise_mutual_information,
)

__all__ = [
    'Alignment',
    'AutoMatcher',
    'CoarseToFineMatcher',
    'DisplacementAlignment',
    'DisplacementMatcher',
    'ExactMatcher',
    'LocalMatcher',
    'Matcher',
    'Matching',
    'MatchingCache',
    'SinkhornMatcher',
    'SoftAlignment',
    'align_frames',
    'mutual_information',
    'neighbour_similarity',
    'positionwise_mutual_information',
]
