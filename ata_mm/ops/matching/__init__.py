# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Matchers: similarities (..., N, N) -> permutations (..., N), or plans."""
from .auto import AutoMatcher
from .cache import MatchingCache
from .coarse_to_fine import CoarseToFineMatcher
from .displacement import DisplacementMatcher
from .exact import ExactMatcher, solve_lapx, solve_scipy
from .local import LocalMatcher
from .sinkhorn import SinkhornMatcher

__all__ = [
    'AutoMatcher', 'CoarseToFineMatcher', 'DisplacementMatcher',
    'ExactMatcher', 'LocalMatcher', 'MatchingCache', 'SinkhornMatcher',
    'solve_lapx', 'solve_scipy'
]
