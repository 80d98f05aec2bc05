# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The matcher that suits a clip."""
import logging
from functools import lru_cache
from typing import Optional, Tuple

import torch
from torch import Tensor

from ..checking import is_compiling
from .coarse_to_fine import CoarseToFineMatcher
from .exact import ExactMatcher
from .frames import Matcher, match_frames

Grid = Optional[Tuple[int, int]]

_logger = logging.getLogger(__name__)


class AutoMatcher:
    """Chooses by the number of patches, and says once what it has chosen.

    `ExactMatcher`, the paper's, as long as a solve takes little beside a
    network, and `CoarseToFineMatcher`, nearly optimal, for larger maps. Each
    of them has its solvers for the CPU and for the GPU, and chooses among
    those by the device of the features. The choice is logged at level INFO.

    Args:
        max_exact (int): Most patches a frame that are matched exactly.
            Defaults to 1024 (32x32).
    """

    def __init__(self, max_exact: int = 1024) -> None:
        self.max_exact = max_exact

    def __repr__(self) -> str:
        return f'AutoMatcher(max_exact={self.max_exact})'

    def choose(self, num_patches: int, device: torch.device) -> Matcher:
        """The matcher for N patches a frame on a device."""
        if num_patches <= self.max_exact:
            matcher = ExactMatcher()
            name = f'ExactMatcher, {matcher.solver_for(device, num_patches)}'
        else:
            matcher = CoarseToFineMatcher()
            name = 'CoarseToFineMatcher'
        if not is_compiling():
            _say(num_patches, str(device), name)
        return matcher

    def can_compile(self, device: torch.device, num_patches: int) -> bool:
        """Whether torch.compile can hold the matching in its graph."""
        matcher = self.choose(num_patches, device)
        return hasattr(matcher, 'can_compile') and matcher.can_compile(
            device, num_patches)

    def __call__(self, similarity: Tensor, grid: Grid = None) -> Tensor:
        """Match by similarities: (..., N, N) -> permutations (..., N)."""
        matcher = self.choose(similarity.shape[-1], similarity.device)
        return matcher(similarity, grid)

    def match_frames(self, x: Tensor, grid: Grid = None) -> Tensor:
        """Match by features: (B, T, N, C) -> permutations (B, T-1, N)."""
        return match_frames(x, self.choose(x.shape[2], x.device), grid)


@lru_cache(maxsize=None)  # so that it is said once
def _say(num_patches: int, device: str, name: str) -> None:
    _logger.info('%d patches a frame on %s are matched by %s.', num_patches,
                 device, name)
