# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Choice of a matcher by the number of patches."""
import logging
from functools import lru_cache
from typing import Optional

import torch
from torch import Tensor

from ..types import Grid
from ..validation import is_compiling
from .base import Matcher
from .coarse_to_fine import CoarseToFineMatcher
from .exact import ExactMatcher

_logger = logging.getLogger(__name__)


class AutoMatcher(Matcher):
    """Match exactly up to a number of patches, and nearly optimally beyond.

    `ExactMatcher`, the paper's, as long as a solve takes little time compared
    with a network, and `CoarseToFineMatcher` for larger maps. Both choose
    their solver by the device of the features. The choice is logged once, at
    level INFO.

    Args:
        max_exact (int): Largest number of patches a frame that is matched
            exactly. Defaults to 1024 (32x32).
    """

    def __init__(self, max_exact: int = 1024) -> None:
        self.max_exact = max_exact

    def choose(self, num_patches: int, device: torch.device) -> Matcher:
        """Return the matcher for N patches a frame on a device."""
        if num_patches <= self.max_exact:
            matcher = ExactMatcher()
            solver = matcher.solver_for(device, num_patches)
            choice = f'ExactMatcher, {solver}'
        else:
            matcher, choice = CoarseToFineMatcher(), 'CoarseToFineMatcher'
        if not is_compiling():
            _log_choice(num_patches, str(device), choice)
        return matcher

    def match(self, similarity: Tensor, grid: Optional[Grid] = None) -> Tensor:
        """Match by similarities: (..., N, N) -> permutations (..., N)."""
        matcher = self.choose(similarity.shape[-1], similarity.device)
        return matcher.match(similarity, grid)

    def match_frames(self, x: Tensor, grid: Optional[Grid] = None) -> Tensor:
        """Match by features: (B, T, N, C) -> permutations (B, T-1, N)."""
        return self.choose(x.shape[2], x.device).match_frames(x, grid)

    def can_compile(self, device: torch.device, num_patches: int) -> bool:
        """Return whether the chosen matcher can be compiled."""
        return self.choose(num_patches,
                           device).can_compile(device, num_patches)


@lru_cache(maxsize=None)  # once for each choice
def _log_choice(num_patches: int, device: str, choice: str) -> None:
    _logger.info('%d patches a frame on %s are matched by %s.', num_patches,
                 device, choice)
