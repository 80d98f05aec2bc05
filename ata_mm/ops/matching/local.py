# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Optimal one-to-one matching within a window."""

from typing import Optional

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from torch import Tensor

from ..lap import MAX_TRITON
from ..types import Grid
from ..validation import check_finite, check_grid, check_radius, check_square
from .base import Matcher
from .exact import ExactMatcher
from .window import correlate_window, gather_window, window_index

# Patches up to which ExactMatcher solves a frame pair on a GPU.
_MAX_DENSE = MAX_TRITON


class LocalMatcher(Matcher):
    r"""One-to-one matcher, optimal within a window around every position.

    .. math:: \pi = \arg\max_\rho \sum_i S[i, \rho(i)], \quad
              |row(\rho(i)) - row(i)| \le r, \;
              |col(\rho(i)) - col(i)| \le r

    For motion of known extent. Not in the paper, whose matches are not
    limited. Optimal among the permutations within the windows, of which the
    identity is always one. With a radius as large as the grid it equals
    `ExactMatcher`.

    Up to 1024 patches a frame, `ExactMatcher` solves it in the same time and
    on the same device, with similarities outside the windows lowered below any
    gain within them. Larger maps are solved by scipy's sparse shortest
    augmenting paths on the CPU, in O(N r^2) memory and O(N^2 r^2) time in the
    worst case: at 56x56 patches and r = 3 about five times as fast as a full
    exact solve, and far slower than `CoarseToFineMatcher`.

    Args:
        radius (int): Largest distance in rows and in columns from a patch to
            its match in the next frame, in patches. Defaults to 3.

    Raises:
        ValueError: If ``radius`` is not an integer of at least 1.
    """

    def __init__(self, radius: int = 3) -> None:
        self.radius = check_radius(radius)
        self._exact = ExactMatcher()

    def match(self, similarity: Tensor, grid: Optional[Grid] = None) -> Tensor:
        """Match by given similarities.

        Args:
            similarity (Tensor): (..., N, N); ``[..., i, j]`` compares patch i
                of a frame with patch j of the next one.
            grid (tuple[int, int]): Height and width of the patch grid;
                required.

        Returns:
            Tensor: int64 permutations (..., N) on the input's device.

        Raises:
            ValueError: If the problems are not square, or hold NaN or
                infinity; if ``grid`` does not hold N patches.
        """
        num = check_square(similarity)
        grid = check_grid(grid, num, repr(self))
        problems = similarity.detach().float().reshape(-1, num, num)
        check_finite(problems)
        if num <= _MAX_DENSE:
            matching = self._solve_dense(problems, grid)
        else:
            windows = gather_window(problems, grid, self.radius)
            matching = self._solve_sparse(windows, grid)
        return matching.view(similarity.shape[:-1])

    def can_compile(self, device: torch.device, num_patches: int) -> bool:
        """Return whether torch.compile can trace the dense solver."""
        return num_patches <= _MAX_DENSE and self._exact.can_compile(
            device, num_patches
        )

    def match_frames(self, x: Tensor, grid: Optional[Grid] = None) -> Tensor:
        """Match by features, on large maps without an N x N matrix.

        Args:
            x (Tensor): Patch features (B, T, N, C).
            grid (tuple[int, int]): Height and width of the patch grid;
                required.

        Returns:
            Tensor: int64 permutations (B, T-1, N) on the input's device.

        Raises:
            ValueError: If x holds NaN or infinity; if ``grid`` does not hold N
                patches.
        """
        grid = check_grid(grid, x.shape[2], repr(self))
        if x.shape[2] <= _MAX_DENSE:
            return super().match_frames(x, grid)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            x = F.normalize(x.float(), dim=-1)
            check_finite(x)
            return torch.stack(
                [
                    self._solve_sparse(
                        correlate_window(
                            clip[:-1], clip[1:], grid, self.radius
                        ),
                        grid,
                    )
                    for clip in x
                ]
            )

    def _solve_dense(self, problems: Tensor, grid: Grid) -> Tensor:
        """Solve densely: similarities (P, N, N) -> permutations (P, N)."""
        num = problems.shape[1]
        if problems.numel() == 0:  # a clip of one frame has no frame pair
            return self._exact.match(problems)
        index = window_index(grid, self.radius, problems.device)
        # -1 % (N + 1) = N: one more column collects the indices outside the
        # grid. A mask of them instead would select by value, which
        # synchronises a GPU.
        near = torch.zeros(
            num, num + 1, dtype=torch.bool, device=problems.device
        )
        near = near.scatter(1, index % (num + 1), True)[:, :num]
        low, high = problems.flatten(1).aminmax(dim=1, keepdim=True)
        # One barred match costs more than the N others can gain together, and
        # the identity needs none. The 1 keeps that true of equal similarities.
        barred = (low - num * (high - low) - 1)[..., None]
        return self._exact.match(torch.where(near, problems, barred))

    def _solve_sparse(self, windows: Tensor, grid: Grid) -> Tensor:
        """Solve sparsely: windows (P, N, K) -> permutations (P, N)."""
        index = window_index(grid, self.radius).numpy()
        inside = index >= 0
        starts = np.append(0, inside.sum(1).cumsum())
        matching = np.empty(windows.shape[:2], np.int64)
        # All problems have the same edges, with ascending columns in a row, as
        # the CSR format wants them. The identity makes the graph feasible.
        for window, out in zip(windows.cpu().numpy(), matching):
            # The solver minimises, and ignores edges of weight 0.
            cost = 1.0 + window.max() - window[inside]
            graph = csr_matrix((cost, index[inside], starts))
            out[:] = min_weight_full_bipartite_matching(graph)[1]
        return torch.from_numpy(matching).to(windows.device)
