# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""From the features of a clip to routes (Alg. 1)."""
from functools import partial
from typing import Optional, Tuple, Union

import torch
from torch import Tensor

from .alignment import Alignment, check_grid
from .checking import is_compiling
from .matching import AutoMatcher, MatchingCache
from .matching.frames import Matcher, match_frames
from .permutation import chain
from .soft_alignment import SoftAlignment, chain_plans


def align_frames(x: Tensor,
                 matcher: Union[Matcher, str] = 'auto',
                 grid: Optional[Tuple[int, int]] = None,
                 cache: Optional[MatchingCache] = None) -> Alignment:
    """Match the patches of neighbouring frames and chain them to routes.

    Alg. 1 aligns each frame to the aligned one before it, one solve after the
    other. Aligning a frame only renames the rows of the next problem, so all
    pairs of all clips are solved at once on the original order, and the
    permutations are composed. Both give the same routes but for exact ties;
    `ata_mm.ops.reference` has the literal form.

    Args:
        x (Tensor): Patch features of shape (B, T, N, C).
        matcher (Callable | str): Maps similarities (..., N, N) to
            permutations (..., N) that maximise their sum, or to plans
            (..., N, N) that spread patches. One that needs but few of the
            similarities, or their gradients, has a method ``match_frames``,
            from features (B, T, N, C) to permutations (B, T-1, N) or plans
            (B, T-1, N, N), which is called instead. One that torch.compile
            can hold in its graph has a method ``can_compile``, from device
            and N to bool. Those whose routes are neither have a method
            ``follow``, from what they return and the grid to an `Alignment`.
            Defaults to 'auto', an `AutoMatcher`: exact up to 1024 patches.
        grid (tuple[int, int], optional): Height and width of the patch grid,
            passed on to the matcher as ``grid=`` when given. Defaults to None.
        cache (MatchingCache, optional): Spares what was matched in the call
            before, for windows of a video that overlap. Defaults to None.

    Returns:
        Alignment: Its ``routes`` have shape (B, T, N); of plans, a
        `SoftAlignment`; of `DisplacementMatcher`, a `DisplacementAlignment`.

    Raises:
        ValueError: If x is not (B, T, N, C), holds NaN or infinity, or has
            more patches than the matcher solves; if grid does not hold N
            patches; if the matcher returns neither permutations nor plans.
    """
    _check_input(x, grid)
    matcher = _check_matcher(matcher)
    align = _align_frames
    if is_compiling() and not (cache is None and _can_compile(matcher, x)):
        # One break in the graph instead of many.
        align = torch.compiler.disable(align)
    return align(x, matcher, grid, cache)


def _check_matcher(matcher: Union[Matcher, str]) -> Matcher:
    if isinstance(matcher, str) and matcher == 'auto':
        return AutoMatcher()
    if not callable(matcher) and not hasattr(matcher, 'match_frames'):
        raise ValueError("Expected matcher='auto' or a matcher, as "
                         f'ExactMatcher(), got {matcher!r}. Configs alone can '
                         'give it by name.')
    return matcher


def _can_compile(matcher: Matcher, x: Tensor) -> bool:
    can_compile = getattr(matcher, 'can_compile', None)
    return can_compile is not None and can_compile(x.device, x.shape[2])


def _align_frames(x: Tensor, matcher: Matcher, grid: Optional[Tuple[int, int]],
                  cache: Optional[MatchingCache]) -> Alignment:
    match = partial(match_frames, matcher=matcher, grid=grid)
    matching = match(x) if cache is None else cache(x, match)
    if hasattr(matcher, 'follow'):
        return matcher.follow(matching, grid)
    return _follow(matching, x, matcher)


def _follow(matching: Tensor, x: Tensor, matcher: Matcher) -> Alignment:
    """The routes that matchings of neighbouring frames make."""
    batch, frames, num, _ = x.shape
    hard = (batch, frames - 1, num)
    if matching.shape == hard and matching.dtype == torch.int64:
        return Alignment(chain(matching))
    if matching.shape == (*hard, num) and matching.is_floating_point():
        return SoftAlignment(chain_plans(matching))
    raise ValueError(
        'Expected the matcher to return int64 permutations of shape '
        f'{hard} or floating-point plans of shape {(*hard, num)}, got '
        f'{matching.dtype} of shape {tuple(matching.shape)} from {matcher!r}.')


def _check_input(x: Tensor, grid: Optional[Tuple[int, int]]) -> None:
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError('Expected patch features of shape (B, T, N, C), none '
                         f'of them 0, got {tuple(x.shape)}.')
    if grid is not None:
        check_grid(grid, x.shape[2])
