# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The best one-to-one matching in which no patch goes far."""
from typing import Optional, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from torch import Tensor

from .checks import check_finite, check_grid, check_radius, check_square
from .exact import ExactMatcher
from .frames import match_frames
from .window import correlate_window, gather_window, window_index

Grid = Optional[Tuple[int, int]]

_MAX_DENSE = 1024  # patches, what ExactMatcher solves on a GPU


class LocalMatcher:
    r"""The best one-to-one matching within a window around every place.

    .. math:: \pi = \arg\max_\pi \sum_i S[i, \pi(i)], \quad
              |row(\pi(i)) - row(i)| \le r, \; |col(\pi(i)) - col(i)| \le r

    For those who know how far content moves from frame to frame, and want no
    match beyond. Not in the paper, whose matches go anywhere. Optimal among
    the permutations that keep to the windows, and there is always one: the
    identity. With a radius of the whole grid, that of `ExactMatcher`.

    Up to 1024 patches a frame, `ExactMatcher` solves it, with similarities
    outside the windows so low that none of them pays, in the same time and on
    the same device. Larger maps are solved by scipy's sparse shortest
    augmenting paths on the CPU, in O(N r^2) memory and O(N^2 r^2) time in the
    worst case: at 56x56 patches and r = 3 about five times as fast as a full
    exact solve, and far slower than `CoarseToFineMatcher`.

    Args:
        radius (int): Most rows and columns, in patches, from a patch to its
            match in the next frame. Defaults to 3.

    Raises:
        ValueError: If ``radius`` is no integer from 1.
    """

    def __init__(self, radius: int = 3) -> None:
        self.radius = check_radius(radius)
        self.exact = ExactMatcher()

    def __repr__(self) -> str:
        return f'LocalMatcher(radius={self.radius})'

    def __call__(self, similarity: Tensor, grid: Grid = None) -> Tensor:
        """Match by similarities that are at hand.

        Args:
            similarity (Tensor): (..., N, N), S[i, j] of patch i in one frame
                and patch j in the next.
            grid (tuple[int, int], optional): Height and width of the patch
                grid; needed. Defaults to None.

        Returns:
            Tensor: int64 permutations (..., N) on the input's device.

        Raises:
            ValueError: If the problems are not square, or hold NaN or
                infinity; if ``grid`` does not hold N patches.
        """
        num = check_square(similarity)
        grid = check_grid(grid, num, self)
        problems = similarity.detach().float().reshape(-1, num, num)
        check_finite(problems)
        if num <= _MAX_DENSE:
            matching = self._solve_dense(problems, grid)
        else:
            windows = gather_window(problems, grid, self.radius)
            matching = self._solve_sparse(windows, grid)
        return matching.view(similarity.shape[:-1])

    def can_compile(self, device: torch.device, num_patches: int) -> bool:
        """Whether torch.compile can hold the matching in its graph."""
        return num_patches <= _MAX_DENSE and self.exact.can_compile(
            device, num_patches)

    def match_frames(self, x: Tensor, grid: Grid = None) -> Tensor:
        """Match by features; of large maps only the windows are compared.

        Args:
            x (Tensor): Patch features (B, T, N, C).
            grid (tuple[int, int], optional): As above. Defaults to None.

        Returns:
            Tensor: int64 permutations (B, T-1, N) on the input's device.

        Raises:
            ValueError: If x holds NaN or infinity; if ``grid`` does not hold N
                patches.
        """
        grid = check_grid(grid, x.shape[2], self)
        if x.shape[2] <= _MAX_DENSE:
            return match_frames(x, self.__call__, grid)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            x = F.normalize(x.float(), dim=-1)
            check_finite(x)
            return torch.stack([
                self._solve_sparse(
                    correlate_window(clip[:-1], clip[1:], grid, self.radius),
                    grid) for clip in x
            ])

    def _solve_dense(self, problems: Tensor, grid: Tuple[int, int]) -> Tensor:
        """Similarities (P, N, N) -> permutations (P, N)."""
        num = problems.shape[1]
        if problems.numel() == 0:  # a clip of one frame has no pair
            return self.exact(problems)
        index = window_index(grid, self.radius, problems.device)
        # One column more, for what is outside the grid.
        near = torch.zeros(
            num, num + 1, dtype=torch.bool, device=problems.device)
        near = near.scatter(1, index % (num + 1), True)[:, :num]
        low, high = problems.flatten(1).aminmax(dim=1, keepdim=True)
        # Below what N other matches could make up for.
        barred = (low - num * (high - low) - 1)[..., None]
        return self.exact(torch.where(near, problems, barred))

    def _solve_sparse(self, windows: Tensor, grid: Tuple[int, int]) -> Tensor:
        """Similarities (P, N, K) within windows -> permutations (P, N)."""
        index = window_index(grid, self.radius).numpy()
        inside = index >= 0
        starts = np.append(0, inside.sum(1).cumsum())
        matching = np.empty(windows.shape[:2], np.int64)
        for window, out in zip(windows.cpu().numpy(), matching):
            # The solver takes an edge of weight 0 for none.
            cost = 1. + window.max() - window[inside]
            graph = csr_matrix((cost, index[inside], starts))
            out[:] = min_weight_full_bipartite_matching(graph)[1]
        return torch.from_numpy(matching).to(windows.device)
