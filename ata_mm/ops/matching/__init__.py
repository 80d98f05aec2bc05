# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Matchers: similarities (..., N, N) -> permutations (..., N)."""
from .coarse_to_fine import CoarseToFineMatcher
from .exact import ExactMatcher, solve_lapx, solve_scipy
from .local import LocalMatcher

__all__ = [
    'CoarseToFineMatcher', 'ExactMatcher', 'LocalMatcher', 'solve_lapx',
    'solve_scipy'
]
