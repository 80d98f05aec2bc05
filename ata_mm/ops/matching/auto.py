# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Matcher chosen by the number of patches."""

import logging
from functools import cache

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ..types import Grid
from ..validation import check_counts
from .base import Matcher, Matching
from .coarse_to_fine import CoarseToFineMatcher
from .exact import ExactMatcher

_logger = logging.getLogger(__name__)

# On a CPU an exact solve of this size takes little of a network's time. On a
# GPU it is faster than CoarseToFineMatcher with 256 patches, and takes 3.5
# times as long with 784; in between by interpolation.
_MAX_EXACT_CPU, _MAX_EXACT_GPU = 1024, 400


class AutoMatcher(Matcher):
    """Matcher that is exact up to a number of patches, nearly optimal beyond.

    `ExactMatcher`, the paper's, while a solve takes little time compared with
    a network, and `CoarseToFineMatcher` for larger maps. Both choose their
    solver by the device of the features. Each choice is logged once, at level
    INFO.

    Args:
        max_exact (int, optional): Largest number of patches a frame that is
            matched exactly. Defaults to None: 1024 (32x32) on the CPU, 400
            (20x20) on a GPU. Beyond 400, routes then depend on the device.

    Raises:
        ValueError: If ``max_exact`` is not an integer of at least 1.
    """

    def __init__(self, max_exact: int | None = None) -> None:
        if max_exact is not None:
            check_counts(max_exact=max_exact)
        self.max_exact = max_exact

    def limit(self, device: torch.device) -> int:
        """Return the largest number of patches that is matched exactly."""
        if self.max_exact is not None:
            return self.max_exact
        return _MAX_EXACT_GPU if device.type == 'cuda' else _MAX_EXACT_CPU

    def choose(self, num_patches: int, device: torch.device) -> Matcher:
        """Return the matcher for a number of patches and a device.

        Args:
            num_patches (int): Number of patches N a frame.
            device (torch.device): Device of the features.

        Returns:
            Matcher: An `ExactMatcher` or a `CoarseToFineMatcher`.
        """
        # Both are cheap to construct, and solver thread pools are shared.
        limit = self.limit(device)
        if num_patches <= limit:
            exact = ExactMatcher(max_patches=limit)
            solver = exact.solver_for(device, num_patches)
            _log_choice(num_patches, device, f'ExactMatcher, {solver}')
            return exact
        _log_choice(num_patches, device, 'CoarseToFineMatcher')
        return CoarseToFineMatcher()

    def match(self, similarity: Tensor, grid: Grid | None = None) -> Tensor:
        """Match by given similarities.

        Args:
            similarity (Tensor): (..., N, N); ``[..., i, j]`` compares patch i
                of a frame with patch j of the next one.
            grid (tuple[int, int], optional): Height and width of the patch
                grid, used on large maps. Defaults to None.

        Returns:
            Tensor: int64 permutations of shape (..., N).

        Raises:
            ValueError: If the problems are not square, or hold NaN or
                infinity.
        """
        matcher = self.choose(similarity.shape[-1], similarity.device)
        return matcher.match(similarity, grid)

    def match_pairs(
        self,
        source: Tensor,
        target: Tensor,
        grid: Grid | None = None,
        min_similarity: float | None = None,
        support_radius: int = 0,
    ) -> Matching:
        """Match as the chosen matcher; see `Matcher.match_pairs`."""
        return self.choose(target.shape[2], target.device).match_pairs(
            source, target, grid, min_similarity, support_radius
        )

    def can_compile(self, device: torch.device, num_patches: int) -> bool:
        """Return whether torch.compile can trace the chosen matcher."""
        return self.choose(num_patches, device).can_compile(
            device, num_patches
        )


def _log_choice(num_patches: int, device: torch.device, choice: str) -> None:
    # Logging and lru_cache would break a compiled graph.
    if not is_compiling():
        _log_once(num_patches, str(device), choice)


@cache  # the key is the choice: a model asks in every block
def _log_once(num_patches: int, device: str, choice: str) -> None:
    _logger.info(
        '%d patches a frame on %s are matched by %s.',
        num_patches,
        device,
        choice,
    )
