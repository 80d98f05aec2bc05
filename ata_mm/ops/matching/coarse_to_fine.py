# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Nearly optimal matching of large maps, coarse to fine.

Not in the paper, which solves every size exactly. At 56x56 patches, stage 1
of ConvNeXt, one exact solve takes a second or more.
"""

from typing import Optional, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from ..permutation import identity, invert
from ..types import Grid
from ..validation import check_finite, check_square
from .base import Matcher
from .exact import ExactMatcher

# Gains below the rounding of a mean of fp32 similarities are none: without the
# bound, equally good patches would be exchanged, and still scenes would move.
_ROUNDING = 1e-6


class DenseSimilarity:
    """Similarities given as a tensor.

    Args:
        similarity (Tensor): (P, N, N).
    """

    def __init__(self, similarity: Tensor) -> None:
        self.similarity = similarity
        self.shape = similarity.shape[:2]  # P, N
        self.device = similarity.device

    def transposed(self) -> 'DenseSimilarity':
        """Swap the frames of each frame pair."""
        return DenseSimilarity(self.similarity.transpose(1, 2))

    def blocks(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Take the similarities of groups: 2 x (P, K, s) -> (P, K, s, s)."""
        # Index of the frame pair, to broadcast against rows and columns.
        problem = identity(len(rows), device=self.device)
        problem = problem[:, None, None, None]
        rows, columns = rows[..., :, None], columns[..., None, :]
        return self.similarity[problem, rows, columns]

    def cells(self, index: Tensor) -> Tensor:
        """Sum over cells: patches of each cell (K, m) -> (P, K, K)."""
        # Linear in S, hence the same sums as of FeatureSimilarity.
        rows = self.similarity[:, index].sum(2)  # (P, K, N)
        return rows[:, :, index].sum(-1)

    def contrast(self, first: int, second: int) -> Tensor:
        """Similarity difference between two columns, per row: (P, N)."""
        return self.similarity[:, :, first] - self.similarity[:, :, second]

    def matched(self, matching: Tensor) -> Tensor:
        """Similarity of each row to its matched column: (P, N)."""
        return self.similarity.gather(2, matching[..., None]).squeeze(2)


class FeatureSimilarity:
    """Similarities computed from features on demand.

    Args:
        source (Tensor): Normalised features (P, N, C).
        target (Tensor): Normalised features (P, N, C).
    """

    def __init__(self, source: Tensor, target: Tensor) -> None:
        self.source, self.target = source, target
        self.shape = source.shape[:2]  # P, N
        self.device = source.device

    def transposed(self) -> 'FeatureSimilarity':
        """Swap the frames of each frame pair."""
        return FeatureSimilarity(self.target, self.source)

    def blocks(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Take the similarities of groups: 2 x (P, K, s) -> (P, K, s, s)."""
        rows, columns = _take(self.source, rows), _take(self.target, columns)
        return rows @ columns.transpose(-1, -2)

    def cells(self, index: Tensor) -> Tensor:
        """Sum over cells: patches of each cell (K, m) -> (P, K, K)."""
        rows = self.source[:, index].sum(2)  # (P, K, C)
        # The product of sums is the sum of products: no N x N matrix.
        columns = self.target[:, index].sum(2)
        return rows @ columns.transpose(1, 2)

    def contrast(self, first: int, second: int) -> Tensor:
        """Similarity difference between two columns, per row: (P, N)."""
        # One projection of all features, as in locality-sensitive hashing.
        direction = self.target[:, first] - self.target[:, second]
        return (self.source @ direction[..., None]).squeeze(-1)

    def matched(self, matching: Tensor) -> Tensor:
        """Similarity of each row to its matched column: (P, N)."""
        target = _take(self.target, matching[:, None]).squeeze(1)
        return torch.linalg.vecdot(self.source, target)


Similarity = Union[DenseSimilarity, FeatureSimilarity]


class CoarseToFineMatcher(Matcher):
    """One-to-one matcher of large maps, nearly optimal.

    1. Start: square cells of patches are matched exactly, then the patches
       within matched cells. If that is no better than the identity, or the
       grid has no such cells, the start is the identity.
    2. Sweeps: the worst matched patches are sorted by the difference of their
       similarities to two random patches of the other frame, and cut into
       groups of consecutive, hence similar, patches. Each group is matched
       again, exactly, to the patches it already holds. The frames of a pair
       alternate in being sorted.

    Every step keeps a permutation and never lowers the total similarity:
    the result is never worse than the identity. O(N * group_size * (C +
    group_size)) time a sweep, against O(N^3) of an exact solve; from features
    (`match_frames`) without an N x N matrix. The random patches are the same
    in every call: equal inputs give equal matchings. On a GPU with triton
    everything runs there, see `ExactMatcher`.

    Up to ``max_cells`` patches this is `ExactMatcher`. The defaults, chosen on
    two videos, keep about 0.95 of the exact gain in similarity over the
    identity on other frames of these videos; no share is guaranteed. More or
    larger groups keep more.

    Args:
        sweeps (int): Number of sweeps. Defaults to 4.
        group_size (int): Patches in a group. Defaults to 160.
        active (float): Fraction of the patches matched again in a sweep.
            Defaults to 0.2.
        max_cells (int): Largest number of cells in step 1. Defaults to 256.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        sweeps: int = 4,
        group_size: int = 160,
        active: float = 0.2,
        max_cells: int = 256,
    ) -> None:
        if sweeps < 0 or group_size < 2 or max_cells < 1:
            raise ValueError(
                'Expected sweeps >= 0, group_size >= 2 and max_cells >= 1, '
                f'got {sweeps}, {group_size} and {max_cells}.'
            )
        if not 0 < active <= 1:
            raise ValueError(f'Expected 0 < active <= 1, got {active}.')
        self.sweeps = sweeps
        self.group_size = group_size
        self.active = active
        self.max_cells = max_cells
        self._exact = ExactMatcher()

    def match(self, similarity: Tensor, grid: Optional[Grid] = None) -> Tensor:
        """Match by given similarities.

        Args:
            similarity (Tensor): (..., N, N); ``[..., i, j]`` compares patch i
                of a frame with patch j of the next one.
            grid (tuple[int, int], optional): Height and width of the patch
                grid. Defaults to None, without step 1.

        Returns:
            Tensor: int64 permutations (..., N) on the input's device.

        Raises:
            ValueError: If the problems are not square, or hold NaN or
                infinity.
        """
        num = check_square(similarity)
        if num <= self.max_cells:
            return self._exact.match(similarity)
        problems = similarity.detach().float().reshape(-1, num, num)
        # Sorting and topk would accept NaN silently.
        check_finite(problems)
        matching = self._match(DenseSimilarity(problems), grid)
        return matching.view(similarity.shape[:-1])

    def match_frames(self, x: Tensor, grid: Optional[Grid] = None) -> Tensor:
        """Match by features, in far less memory and time.

        Args:
            x (Tensor): Patch features (B, T, N, C).
            grid (tuple[int, int], optional): As in `match`. Defaults to None.

        Returns:
            Tensor: int64 permutations (B, T-1, N) on the input's device.

        Raises:
            ValueError: If x holds NaN or infinity.
        """
        if x.shape[2] <= self.max_cells:
            return self._exact.match_frames(x)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            x = F.normalize(x.float(), dim=-1)
            check_finite(x)
            # Clip by clip: the groups of a sweep are copies of features.
            return torch.stack(
                [
                    self._match(FeatureSimilarity(clip[:-1], clip[1:]), grid)
                    for clip in x
                ]
            )

    def _match(self, similarity: Similarity, grid: Optional[Grid]) -> Tensor:
        num = similarity.shape[1]
        matching = self._start(similarity, grid)
        if matching.numel() == 0:  # a clip of one frame has no frame pair
            return matching
        # On the CPU whatever the device, and in every call the same: a cached
        # matching equals a new one, and training is reproducible.
        generator = torch.Generator().manual_seed(0)
        for _ in range(self.sweeps):
            pair = torch.randint(num, (2,), generator=generator).tolist()
            groups = self._worst_groups(similarity, matching, *pair)
            matching = self._improve(similarity, matching, groups)
            # The other frame's patches are sorted in the next sweep.
            similarity, matching = similarity.transposed(), invert(matching)
        return invert(matching) if self.sweeps % 2 else matching

    def _start(self, similarity: Similarity, grid: Optional[Grid]) -> Tensor:
        matching = identity(*similarity.shape, device=similarity.device)
        matching = matching.contiguous()
        # Created on the device: a copy from the host would synchronise it.
        cells = _cells(
            grid, similarity.shape[1], self.max_cells, similarity.device
        )
        if cells is None or matching.numel() == 0:
            return matching
        matched = self._exact.match(similarity.cells(cells))  # (P, K)
        patches = cells.flatten().expand_as(matching)
        # Cells move rigidly first; _improve then matches within each cell.
        coarse = matching.scatter(1, patches, cells[matched].flatten(1))
        rows = cells.expand(len(coarse), -1, -1)
        coarse = self._improve(similarity, coarse, rows)
        # By frame pair: a cut or a still pair falls back to the identity.
        gain = similarity.matched(coarse) - similarity.matched(matching)
        better = gain.mean(1, keepdim=True) > _ROUNDING
        return torch.where(better, coarse, matching)

    def _worst_groups(
        self, similarity: Similarity, matching: Tensor, first: int, second: int
    ) -> Tensor:
        """Return the worst matched patches in groups.

        Args:
            similarity (Similarity): Of P frame pairs.
            matching (Tensor): Current permutations (P, N).
            first (int): Patch of the other frame.
            second (int): Patch of the other frame. Patches are sorted by the
                difference of their similarities to the two.

        Returns:
            Tensor: int64 (P, K, s), K groups of s consecutive patches.
        """
        num = matching.shape[1]
        size = min(self.group_size, num)
        count = max(1, int(self.active * num) // size)
        worst = (
            similarity.matched(matching)
            .topk(count * size, largest=False, sorted=False)
            .indices
        )
        contrast = similarity.contrast(first, second).gather(1, worst)
        return worst.gather(1, contrast.argsort(1)).unflatten(1, (count, size))

    def _improve(
        self, similarity: Similarity, matching: Tensor, rows: Tensor
    ) -> Tensor:
        """Match each group (P, K, s) again to the patches it holds.

        Returns the permutations (P, N) with the groups that gained replaced.
        """
        # Groups are disjoint, and exchange patches within themselves only:
        # all of them are solved in one batch, and a permutation remains one.
        held = matching.gather(1, rows.flatten(1)).view_as(rows)
        block = similarity.blocks(rows, held)  # (P, K, s, s)
        best = self._exact.match(block)
        before = block.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True)
        after = block.gather(-1, best[..., None]).mean(-2)
        # Keep the current one of equally good matchings: equal patches stay.
        better = after - before > _ROUNDING
        held = torch.where(better, held.gather(-1, best), held)
        return matching.scatter(1, rows.flatten(1), held.flatten(1))


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Take patches (P, N, C) by indices (P, K, s) -> (P, K, s, C)."""
    # One flat row index, for the reason given in Alignment._take.
    start = identity(len(x), device=x.device) * x.shape[1]
    index = index + start[:, None, None]
    taken = x.reshape(-1, x.shape[-1]).index_select(0, index.flatten())
    return taken.view(*index.shape, -1)


def _cells(
    grid: Optional[Grid],
    num: int,
    max_cells: int,
    device: Optional[torch.device] = None,
) -> Optional[Tensor]:
    """Return the patches of the smallest square cells that are few enough.

    Args:
        grid (tuple[int, int], optional): Height and width of the patch grid.
        num (int): Number of patches N.
        max_cells (int): Largest number of cells K, and of patches m a cell.
        device (torch.device, optional): Of the result. Defaults to None, the
            CPU.

    Returns:
        Tensor: int64 of shape (K, m); None if no side of a cell divides both
        sides of the grid, or no grid is given.
    """
    if grid is None:
        return None
    patches = identity(num, device=device)
    height, width = grid
    for side in range(2, min(grid) + 1):
        fits = height % side == 0 and width % side == 0
        if side**2 > max_cells:  # matching within cells would take long
            return None
        if fits and height * width <= max_cells * side**2:
            patches = patches.view(height // side, side, width // side, side)
            return patches.transpose(1, 2).reshape(-1, side**2)
    return None
