# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Pure tensor functions on (B, T, N, C); nothing of OpenMMLab."""
from .align import align_frames
from .alignment import Alignment
from .displacement_alignment import DisplacementAlignment
from .matching import (AutoMatcher, CoarseToFineMatcher, DisplacementMatcher,
                       ExactMatcher, LocalMatcher, MatchingCache,
                       SinkhornMatcher)
from .mutual_information import (mutual_information,
                                 positionwise_mutual_information)
from .similarity import neighbour_similarity
from .soft_alignment import SoftAlignment

__all__ = [
    'Alignment', 'AutoMatcher', 'CoarseToFineMatcher', 'DisplacementAlignment',
    'DisplacementMatcher', 'ExactMatcher', 'LocalMatcher', 'MatchingCache',
    'SinkhornMatcher', 'SoftAlignment', 'align_frames', 'mutual_information',
    'neighbour_similarity', 'positionwise_mutual_information'
]
