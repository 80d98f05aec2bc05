# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment along routes of whole patches (Sec. 3.3)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..permutation import chain, invert
from ..types import Grid
from ..validation import check_grid


class Alignment:
    """Routes of patches through a clip, one through every patch.

    `align` orders the patches of all frames by route: attention over T at a
    fixed index then follows the content. `dealign` is its inverse, exact to
    the bit (Eq. 7).

    Args:
        routes (Tensor): int64 of shape (B, T, N); ``routes[b, t, i]`` is the
            patch of frame t on route i.

    Attributes:
        shape (torch.Size): (B, T, N).

    Raises:
        ValueError: If ``routes`` is not int64 of shape (B, T, N), or the
            entries of a frame are not a permutation of 0..N-1.

    Examples:
        >>> x = torch.randn(2, 8, 196, 768)
        >>> alignment = align_frames(x)
        >>> y = alignment.align(x)
        >>> torch.equal(alignment.dealign(y), x)
        True
    """

    def __init__(self, routes: Tensor) -> None:
        if routes.ndim != 3 or routes.dtype != torch.int64:
            raise ValueError(
                'Expected int64 routes of shape (B, T, N), got '
                f'{routes.dtype} of shape {tuple(routes.shape)}.'
            )
        self.shape = routes.shape
        self._routes = routes
        self._align_rows = _flat_rows(routes)
        # Inverted here rather than in `dealign`: this also checks that every
        # frame is a permutation, while the stack still shows the matcher.
        self._dealign_rows = _flat_rows(invert(routes))

    @classmethod
    def from_matching(cls, matching: Tensor) -> 'Alignment':
        """Compose the matchings of neighbouring frames to routes.

        Args:
            matching (Tensor): int64 permutations of shape (B, T-1, N).

        Returns:
            Alignment: Its routes start at the patches of frame 0.

        Raises:
            ValueError: If a matching is not a permutation.
        """
        return cls(chain(matching))

    @property
    def routes(self) -> Tensor:
        """Patch of each frame on each route: int64 of shape (B, T, N)."""
        return self._routes

    def __repr__(self) -> str:
        batch, frames, num = self.shape
        return f'{type(self).__name__}(B={batch}, T={frames}, N={num})'

    def align(self, x: Tensor) -> Tensor:
        """Order patches by route: ``y[b, t, i] = x[b, t, routes[b, t, i]]``.

        Args:
            x (Tensor): (B, T, N, C') in the order of the frames, any C'.

        Returns:
            Tensor: (B, T, N, C') in route order.

        Raises:
            ValueError: If x is not of this clip's (B, T, N).
        """
        return self._take(x, self._align_rows)

    def dealign(self, y: Tensor) -> Tensor:
        """Undo `align`, exactly to the bit.

        Args:
            y (Tensor): (B, T, N, C') in route order, any C'.

        Returns:
            Tensor: (B, T, N, C') in the order of the frames.

        Raises:
            ValueError: If y is not of this clip's (B, T, N).
        """
        return self._take(y, self._dealign_rows)

    @torch.no_grad()
    def similarity(self, x: Tensor) -> Tensor:
        """Compute the cosine similarity of each step along each route.

        Its sum over a frame pair is the criterion of Eq. 5, which the exact
        matching maximises.

        Args:
            x (Tensor): (B, T, N, C) in the order of the frames.

        Returns:
            Tensor: fp32 of shape (B, T-1, N); ``[b, t, i]`` compares the
            patches of frames t and t + 1 on route i.
        """
        # In fp32, as the similarities that the matching compares.
        y = self.align(x.float())
        return F.cosine_similarity(y[:, :-1], y[:, 1:], dim=-1)

    def displacement(self, grid: Grid) -> Tensor:
        """Compute the length of each step along each route, in patches.

        Args:
            grid (tuple[int, int]): Height and width of the patch grid.

        Returns:
            Tensor: fp32 of shape (B, T-1, N); ``[b, t, i]`` is the distance
            between the positions of route i in the frames t and t + 1.

        Raises:
            ValueError: If the grid does not hold N patches.
        """
        _, width = check_grid(grid, self.shape[2])
        # Patches are numbered row by row, as flattening (H, W) does.
        row, column = self.routes // width, self.routes % width
        steps = torch.stack([row, column]).diff(dim=2)  # (2, B, T-1, N)
        return steps.float().norm(dim=0)

    def _check(self, x: Tensor) -> None:
        if x.shape[:-1] != self.shape:
            raise ValueError(
                'Expected features of shape (B, T, N, C) with (B, T, N) = '
                f'{tuple(self.shape)}, got {tuple(x.shape)}.'
            )

    def _take(self, x: Tensor, rows: Tensor) -> Tensor:
        self._check(x)
        # One flat row index is four times faster than gather with an index
        # expanded over C; its backward is ten times faster than that of
        # x[rows].
        return x.reshape(-1, x.shape[-1]).index_select(0, rows).view(x.shape)


def _flat_rows(index: Tensor) -> Tensor:
    """Patch indices (B, T, N) -> row indices of the (B*T*N, C) matrix."""
    batch, frames, num = index.shape
    start = torch.arange(batch * frames, device=index.device) * num
    return (index + start.view(batch, frames, 1)).flatten()
