# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment of the frames of clips (Alg. 1)."""

from typing import Callable, Optional, Union

from torch import Tensor

from .alignment import Alignment
from .matching import AutoMatcher, Matcher, MatchingCache, as_matcher
from .types import Grid


def align_frames(
    x: Tensor,
    matcher: Union[Matcher, Callable[..., Tensor], str] = 'auto',
    grid: Optional[Grid] = None,
    cache: Optional[MatchingCache] = None,
) -> Alignment:
    """Match the patches of neighbouring frames and compose routes.

    Alg. 1 aligns each frame to the aligned frame before it, one solve after
    another. Aligning a frame only permutes the rows of the next problem.
    Therefore all frame pairs of all clips are solved in one batch, in their
    original order, and the permutations are composed. Both give the same
    routes, except for exact ties; :mod:`ata_mm.ops.reference` has the literal
    algorithm.

    Args:
        x (Tensor): Patch features of shape (B, T, N, C).
        matcher (Matcher | Callable | str): A :class:`~ata_mm.ops.Matcher`, or
            a function of similarities (..., N, N), called with ``grid=`` if a
            grid is given, that returns permutations (..., N) or plans
            (..., N, N). Defaults to 'auto', an `AutoMatcher`: exact up to 1024
            patches.
        grid (tuple[int, int], optional): Height and width of the patch grid,
            which some matchers need. Defaults to None.
        cache (MatchingCache, optional): Reuses matchings of the previous call,
            for overlapping windows of a video. Defaults to None.

    Returns:
        Alignment: Its ``routes`` have shape (B, T, N). A `SoftAlignment` if
        the matcher returns plans, a `DisplacementAlignment` if it is a
        `DisplacementMatcher`.

    Raises:
        ValueError: If x is not (B, T, N, C), holds NaN or infinity, or has
            more patches than the matcher can solve; if the grid does not hold
            N patches; if ``matcher`` is neither 'auto' nor a matcher nor
            callable; if it returns neither permutations nor plans.

    Examples:
        >>> x = torch.randn(2, 8, 196, 768)
        >>> alignment = align_frames(x, ExactMatcher(), grid=(14, 14))
        >>> alignment.routes.shape
        torch.Size([2, 8, 196])
    """
    # Only this name is resolved here: the registry is part of OpenMMLab, which
    # ops does not import.
    chosen = AutoMatcher() if matcher == 'auto' else as_matcher(matcher)
    return chosen.align(x, grid, cache)
