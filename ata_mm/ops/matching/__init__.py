# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Matchers: similarities (..., N, N) -> permutations (..., N) or plans."""

from .auto import AutoMatcher
from .base import (
    CallableMatcher,
    Matcher,
    Matching,
    as_matcher,
)
from .cache import MatchingCache
from .coarse_to_fine import CoarseToFineMatcher
from .displacement import DisplacementMatcher
from .exact import ExactMatcher
from .local import LocalMatcher
from .similarity import neighbour_similarity
from .sinkhorn import SinkhornMatcher

__all__ = [
    'AutoMatcher',
    'CallableMatcher',
    'CoarseToFineMatcher',
    'DisplacementMatcher',
    'ExactMatcher',
    'LocalMatcher',
    'Matcher',
    'Matching',
    'MatchingCache',
    'SinkhornMatcher',
    'as_matcher',
    'neighbour_similarity',
]
