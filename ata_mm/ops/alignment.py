# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Align the patches of a clip along routes, and put them back (Sec. 3.3)."""
from functools import partial
from typing import Callable, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .checking import is_compiling
from .matching import ExactMatcher, MatchingCache
from .permutation import chain, invert
from .similarity import neighbour_similarity

Matcher = Callable[..., Tensor]

_MAX_SIMILARITIES = 2**26  # at a time: 256 MB


class Alignment:
    """Routes of patches through a clip, one through every patch.

    `align` orders the patches of all frames by route, so that attention over
    T at a fixed index follows the content; `dealign` is its inverse, exact to
    the bit (Eq. 7).

    Args:
        routes (Tensor): int64 of shape (B, T, N); ``routes[b, t, i]`` is the
            patch of frame t on route i.

    Raises:
        ValueError: If ``routes`` is not (B, T, N) or a frame's entries are no
            permutation of 0..N-1.

    Examples:
        >>> x = torch.randn(2, 8, 196, 768)
        >>> alignment = align_frames(x)
        >>> y = alignment.align(x)
        >>> torch.equal(alignment.dealign(y), x)
        True
    """

    def __init__(self, routes: Tensor) -> None:
        if routes.ndim != 3 or routes.dtype != torch.int64:
            raise ValueError('Expected int64 routes of shape (B, T, N), got '
                             f'{routes.dtype} of {tuple(routes.shape)}.')
        self.routes = routes
        self._align_rows = _flat_rows(routes)
        self._dealign_rows = _flat_rows(invert(routes))

    def __repr__(self) -> str:
        batch, frames, num = self.routes.shape
        return f'Alignment(B={batch}, T={frames}, N={num})'

    def align(self, x: Tensor) -> Tensor:
        """Order patches by route: ``y[b, t, i] = x[b, t, routes[b, t, i]]``.

        Args:
            x (Tensor): (B, T, N, C') in the frames' own order, any C'.

        Returns:
            Tensor: (B, T, N, C') in route order.
        """
        return self._take(x, self._align_rows)

    def dealign(self, y: Tensor) -> Tensor:
        """Undo `align`: (B, T, N, C') in route order -> the frames' order."""
        return self._take(y, self._dealign_rows)

    @torch.no_grad()
    def similarity(self, x: Tensor) -> Tensor:
        """Cosine similarity of each step along each route.

        Args:
            x (Tensor): (B, T, N, C) in the frames' own order.

        Returns:
            Tensor: fp32, (B, T-1, N); ``[b, t, i]`` compares the patches of
            frames t and t + 1 on route i.
        """
        y = self.align(x.float())
        return F.cosine_similarity(y[:, :-1], y[:, 1:], dim=-1)

    def displacement(self, grid: Tuple[int, int]) -> Tensor:
        """How far each step of each route goes, in patches.

        Args:
            grid (tuple[int, int]): Height and width of the patch grid.

        Returns:
            Tensor: fp32, (B, T-1, N); ``[b, t, i]`` is the distance of the
            places that route i has in the frames t and t + 1.

        Raises:
            ValueError: If the grid does not hold N patches.
        """
        _check_grid(grid, self.routes.shape[2])
        columns = grid[1]
        places = torch.stack([self.routes // columns, self.routes % columns])
        steps = places.diff(dim=2).float()  # (2, B, T-1, N)
        return steps.norm(dim=0)

    def _take(self, x: Tensor, rows: Tensor) -> Tensor:
        if x.shape[:-1] != self.routes.shape:
            raise ValueError(
                'Expected features of shape (B, T, N, C) with (B, T, N) = '
                f'{tuple(self.routes.shape)}, got {tuple(x.shape)}.')
        # Whole rows by one flat index: four times faster than gather with an
        # index expanded over C, and its backward ten times faster than that
        # of x[rows].
        return x.reshape(-1, x.shape[-1]).index_select(0, rows).view(x.shape)


def align_frames(x: Tensor,
                 matcher: Optional[Matcher] = None,
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
        matcher (Callable, optional): Maps similarities (..., N, N) to
            permutations (..., N) that maximise their sum. One that needs but
            few of the similarities has a method ``match_frames``, from
            features (B, T, N, C) to permutations (B, T-1, N), which is called
            instead. One that torch.compile can hold in its graph has a method
            ``can_compile``, from device and N to bool. Defaults to None, an
            `ExactMatcher`.
        grid (tuple[int, int], optional): Height and width of the patch grid,
            passed on to the matcher as ``grid=`` when given. Defaults to None.
        cache (MatchingCache, optional): Spares what was matched in the call
            before, for windows of a video that overlap. Defaults to None.

    Returns:
        Alignment: Its ``routes`` have shape (B, T, N).

    Raises:
        ValueError: If x is not (B, T, N, C), holds NaN or infinity, or has
            more patches than the matcher solves; if grid does not hold N
            patches; if the matcher does not return permutations.
    """
    _check_input(x, grid)
    matcher = ExactMatcher() if matcher is None else matcher
    align = _align_frames
    if is_compiling() and not (cache is None and _can_compile(matcher, x)):
        # One break in the graph instead of many.
        align = torch.compiler.disable(align)
    return align(x, matcher, grid, cache)


def _can_compile(matcher: Matcher, x: Tensor) -> bool:
    can_compile = getattr(matcher, 'can_compile', None)
    return can_compile is not None and can_compile(x.device, x.shape[2])


def _align_frames(x: Tensor, matcher: Matcher, grid: Optional[Tuple[int, int]],
                  cache: Optional[MatchingCache]) -> Alignment:
    batch, frames, num, _ = x.shape
    options = {} if grid is None else dict(grid=grid)
    match = partial(_match, matcher=matcher, options=options)
    matching = match(x) if cache is None else cache(x, match)
    if (matching.shape != (batch, frames - 1, num)
            or matching.dtype != torch.int64):
        raise ValueError(
            'Expected the matcher to return int64 permutations of shape '
            f'{(batch, frames - 1, num)}, got {matching.dtype} of shape '
            f'{tuple(matching.shape)} from {matcher!r}.')
    return Alignment(chain(matching))


def _match(x: Tensor, matcher: Matcher, options: dict) -> Tensor:
    """Permutations (B, T-1, N) of all neighbouring pairs of frames."""
    if hasattr(matcher, 'match_frames'):
        return matcher.match_frames(x, **options)
    batch, frames, num, _ = x.shape
    if frames == 1:
        return x.new_empty(batch, 0, num, dtype=torch.int64)
    # Several pairs at a time, so that large maps fit into memory.
    step = max(1, _MAX_SIMILARITIES // (batch * num**2))
    return torch.cat([
        matcher(neighbour_similarity(x[:, start:start + step + 1]), **options)
        for start in range(0, frames - 1, step)
    ], 1)


def _check_input(x: Tensor, grid: Optional[Tuple[int, int]]) -> None:
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError('Expected patch features of shape (B, T, N, C), none '
                         f'of them 0, got {tuple(x.shape)}.')
    if grid is not None:
        _check_grid(grid, x.shape[2])


def _check_grid(grid: Tuple[int, int], num_patches: int) -> None:
    if grid[0] * grid[1] != num_patches:
        raise ValueError(f'Expected N = {grid[0]} x {grid[1]} patches for '
                         f'grid={tuple(grid)}, got N = {num_patches}.')


def _flat_rows(index: Tensor) -> Tensor:
    """Patch indices (B, T, N) -> row numbers of the (B*T*N, C) matrix."""
    batch, frames, num = index.shape
    start = torch.arange(batch * frames, device=index.device) * num
    return (index + start.view(batch, frames, 1)).flatten()
