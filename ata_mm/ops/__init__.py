# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Pure tensor functions on (B, T, N, C); nothing of OpenMMLab."""
from .alignment import Alignment, align_frames
from .matching import (CoarseToFineMatcher, ExactMatcher, LocalMatcher,
                       MatchingCache)
from .similarity import neighbour_similarity

__all__ = [
    'Alignment', 'CoarseToFineMatcher', 'ExactMatcher', 'LocalMatcher',
    'MatchingCache', 'align_frames', 'neighbour_similarity'
]
