# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Optimal one-to-one matching within a window."""

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from torch import Tensor

from ..lap import MAX_TRITON
from ..norms import normalize
from ..permutation import complete, identity
from ..tracing import is_tracing
from ..types import Grid
from ..validation import (
    check_counts,
    check_finite,
    check_grid,
    check_square,
)
from .base import Matcher, Matching
from .exact import ExactMatcher
from .operator import match_pairs, register_matcher
from .similarity import STAY, favour_place, unfold_support
from .window import correlate_window, gather_window, window_index

# Patches up to which ExactMatcher solves a frame pair on a GPU.
_MAX_DENSE = MAX_TRITON


@register_matcher
class LocalMatcher(Matcher):
    r"""One-to-one matcher, optimal within a window around every position.

    .. math:: \pi = \arg\max_\rho \sum_i \max(c, S'[i, \rho(i)])

    S' is S within the window, where rows and columns of the two patches differ
    by at most r, and c outside. For motion of known extent. Not in the paper,
    whose matches are not limited. With a radius as large as the grid it equals
    `ExactMatcher`.

    Content that leaves the view has no match within its window, nor has the
    content that comes into view. In a pan of the whole frame such patches
    cannot be matched within windows without shifting whole rows of others.
    They are therefore matched to each other, in reading order, wherever they
    are: all patches whose match would not be more similar than c, the mean
    similarity of patches to those in their windows, or ``min_similarity`` if
    that is larger. With ``min_similarity`` they are the rejected ones.

    Up to 1024 patches a frame, `ExactMatcher` solves it in the same time and
    on the same device. Larger maps are solved by scipy's sparse shortest
    augmenting paths on the CPU, in O(N r^2) memory and O(N^2 r^2) time in the
    worst case, without an N x N matrix; far slower than `CoarseToFineMatcher`.

    Args:
        radius (int): Largest distance in rows and in columns from a patch to
            its match in the next frame, in patches. Defaults to 3.

    Raises:
        ValueError: If ``radius`` is not an integer of at least 1.
    """

    def __init__(self, radius: int = 3) -> None:
        check_counts(radius=radius)
        self.radius = int(radius)
        self._exact = ExactMatcher()

    def match(self, similarity: Tensor, grid: Grid | None = None) -> Tensor:
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
        grid = check_grid(grid, num, self)
        problems = similarity.detach().float().reshape(-1, num, num)
        check_finite(problems)
        if self._covers(grid):
            matching = self._exact.match(problems)
        elif num <= _MAX_DENSE:
            matching, _ = self._solve_dense(problems, grid)
        else:
            windows = gather_window(problems, grid, self.radius)
            matching, _ = self._solve_sparse(windows, grid)
        return matching.view(similarity.shape[:-1])

    def match_pairs(
        self,
        source: Tensor,
        target: Tensor,
        grid: Grid | None = None,
        min_similarity: float | None = None,
        support_radius: int = 0,
    ) -> Matching:
        """Match by features, on large maps without an N x N matrix.

        For arguments and errors see `Matcher.match_pairs`; ``grid`` is
        required.

        Returns:
            Matching: int64 permutations of shape (B, P, N).
        """
        num = target.shape[2]
        grid = check_grid(grid, num, self)
        if num <= _MAX_DENSE or self._covers(grid):
            return super().match_pairs(
                source, target, grid, min_similarity, support_radius
            )
        if is_tracing() and type(self) is LocalMatcher:
            return match_pairs(
                self,
                source,
                target,
                grid,
                min_similarity,
                support_radius,
            )
        device = target.device.type
        least = -np.inf if min_similarity is None else min_similarity
        solved = []
        with torch.no_grad(), torch.autocast(device, enabled=False):
            for clip in zip(source, target):
                first, second = (normalize(x) for x in clip)
                check_finite(first)
                check_finite(second)
                first, second = (
                    unfold_support(x, grid, support_radius)
                    for x in (first, second)
                )
                windows = correlate_window(
                    first.expand_as(second), second, grid, self.radius
                )
                windows[..., windows.shape[-1] // 2] += STAY
                solved.append(self._solve_sparse(windows, grid, least))
        matching, similar = (torch.stack(part) for part in zip(*solved))
        return Matching(matching, None if min_similarity is None else similar)

    def can_compile(self, device: torch.device, num_patches: int) -> bool:
        """Return whether the solvers are operators, as of no subclass."""
        return type(self) is LocalMatcher

    def _covers(self, grid: Grid) -> bool:
        """Return whether every window holds the whole grid."""
        return self.radius >= max(grid) - 1

    def _solve(
        self,
        similarity: Tensor,
        grid: Grid | None,
        min_similarity: float | None,
    ) -> Matching:
        grid = check_grid(grid, similarity.shape[-1], self)
        if min_similarity is None or self._covers(grid):
            return super()._solve(similarity, grid, min_similarity)
        problems = favour_place(similarity).flatten(0, -3)
        solved = self._solve_dense(problems, grid, min_similarity)
        return Matching(*(x.view(similarity.shape[:-1]) for x in solved))

    def _solve_dense(
        self, problems: Tensor, grid: Grid, least: float = -np.inf
    ) -> tuple[Tensor, Tensor]:
        """Solve densely.

        Args:
            problems (Tensor): Similarities (P, N, N).
            grid (tuple[int, int]): Height and width of the patch grid.
            least (float): Lower bound of c. Defaults to -inf.

        Returns:
            tuple: int64 permutations, and which matches are more similar than
            c within their windows, bool, (P, N) each.
        """
        patch = identity(problems.shape[1], device=problems.device)
        row, column = patch // grid[1], patch % grid[1]
        down = (row[:, None] - row).abs()
        right = (column[:, None] - column).abs()
        near = (down <= self.radius) & (right <= self.radius)
        total = problems.masked_fill(~near, 0).sum((1, 2), keepdim=True)
        bound = (total / near.sum()).clamp_min(least)
        values = problems.where(near, bound).maximum(bound)
        matching = self._exact.match(values)
        found = values.gather(2, matching[..., None]).squeeze(2)
        # `favour_place` does not make a match in place acceptable.
        similar = found > bound.squeeze(2)
        similar &= found > least + STAY * (matching == patch)
        return complete(matching, similar), similar

    def _solve_sparse(
        self, windows: Tensor, grid: Grid, least: float = -np.inf
    ) -> tuple[Tensor, Tensor]:
        """Solve sparsely: windows (P, N, K), else as `_solve_dense`."""
        index = window_index(grid, self.radius).numpy()
        num, valid = len(index), index >= 0
        centre = index.shape[1] // 2
        # One column more for each row, which stands for any other match.
        index = np.column_stack([index, num + np.arange(num)])
        matching = np.empty(windows.shape[:2], np.int64)
        for window, out in zip(windows.cpu().numpy(), matching):
            bound = max(window[valid].mean(dtype=np.float64), least)
            similar = window > bound
            similar[:, centre] &= window[:, centre] > np.float32(least) + STAY
            edges = np.column_stack([similar, np.ones(num, bool)])
            values = np.column_stack([window, np.full(num, bound)])[edges]
            # The solver minimises, and ignores edges of weight 0. In a row
            # columns ascend, as the CSR format wants them.
            cost = 1.0 + values.max() - values
            starts = np.append(0, edges.sum(1).cumsum())
            graph = csr_matrix((cost, index[edges], starts), (num, 2 * num))
            out[:] = min_weight_full_bipartite_matching(graph)[1]
        found = torch.from_numpy(matching).to(windows.device)
        similar = found < num
        return complete(found, similar), similar
