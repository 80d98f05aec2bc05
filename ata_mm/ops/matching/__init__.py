# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Matchers: similarities (..., N, N) -> permutations (..., N)."""
from .cache import MatchingCache
from .coarse_to_fine import CoarseToFineMatcher
from .exact import ExactMatcher, solve_lapx, solve_scipy
from .local import LocalMatcher

__all__ = [
    'CoarseToFineMatcher', 'ExactMatcher', 'LocalMatcher', 'MatchingCache',
    'solve_lapx', 'solve_scipy'
]
