# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Nearly optimal matching of large maps, from coarse cells to patches.

Not in the paper, which solves every size exactly. At 56x56 patches, stage 1
of ConvNeXt, one exact solve takes a second or more.
"""
from typing import Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from ..permutation import identity, invert
from .checks import check_finite, check_square
from .exact import ExactMatcher
from .frames import match_frames

Grid = Optional[Tuple[int, int]]

_ROUNDING = 1e-6  # of a mean of fp32 similarities


class DenseSimilarity:
    """Similarities at hand as a tensor.

    Args:
        similarity (Tensor): (P, N, N).
    """

    def __init__(self, similarity: Tensor) -> None:
        self.similarity = similarity
        self.shape = similarity.shape[:2]  # P, N
        self.device = similarity.device

    def transposed(self) -> 'DenseSimilarity':
        """The same problems with the frames of each pair swapped."""
        return DenseSimilarity(self.similarity.transpose(1, 2))

    def blocks(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Similarities of groups: (P, K, s) twice -> (P, K, s, s)."""
        problem = identity(len(rows), device=self.device)
        problem = problem[:, None, None, None]
        rows, columns = rows[..., :, None], columns[..., None, :]
        return self.similarity[problem, rows, columns]

    def cells(self, index: Tensor) -> Tensor:
        """Sums over cells: patches of each cell (K, m) -> (P, K, K)."""
        rows = self.similarity[:, index].sum(2)  # (P, K, N)
        return rows[:, :, index].sum(-1)

    def contrast(self, first: int, second: int) -> Tensor:
        """How much more each row likes one column than another: (P, N)."""
        return self.similarity[:, :, first] - self.similarity[:, :, second]

    def matched(self, matching: Tensor) -> Tensor:
        """Similarity of each row to the column it is matched to: (P, N)."""
        return self.similarity.gather(2, matching[..., None]).squeeze(2)


class FeatureSimilarity:
    """Similarities computed from features when they are asked for.

    Args:
        source (Tensor): (P, N, C), of unit length.
        target (Tensor): (P, N, C), of unit length.
    """

    def __init__(self, source: Tensor, target: Tensor) -> None:
        self.source, self.target = source, target
        self.shape = source.shape[:2]  # P, N
        self.device = source.device

    def transposed(self) -> 'FeatureSimilarity':
        """The same problems with the frames of each pair swapped."""
        return FeatureSimilarity(self.target, self.source)

    def blocks(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Similarities of groups: (P, K, s) twice -> (P, K, s, s)."""
        rows, columns = _take(self.source, rows), _take(self.target, columns)
        return rows @ columns.transpose(-1, -2)

    def cells(self, index: Tensor) -> Tensor:
        """Sums over cells: patches of each cell (K, m) -> (P, K, K)."""
        rows = self.source[:, index].sum(2)  # (P, K, C)
        columns = self.target[:, index].sum(2)
        return rows @ columns.transpose(1, 2)

    def contrast(self, first: int, second: int) -> Tensor:
        """How much more each row likes one column than another: (P, N)."""
        direction = self.target[:, first] - self.target[:, second]
        return (self.source @ direction[..., None]).squeeze(-1)

    def matched(self, matching: Tensor) -> Tensor:
        """Similarity of each row to the column it is matched to: (P, N)."""
        target = _take(self.target, matching[:, None]).squeeze(1)
        return torch.linalg.vecdot(self.source, target)


Similarity = Union[DenseSimilarity, FeatureSimilarity]


class CoarseToFineMatcher:
    """A nearly optimal one-to-one matching, for maps too large to solve.

    1. Square cells of patches are matched exactly, then the patches within
       matched cells. Where that is no better than leaving every patch in its
       place, or the grid has no such cells, the start is the identity.
    2. Sweeps: the patches that are matched worst are sorted by how much more
       they resemble one patch of the other frame than another, two drawn at
       random, and cut into groups of neighbours in that order, which are
       alike. Each group is matched anew, exactly, to the patches that it
       holds already. The frames of a pair take turns in being sorted.

    Every step keeps a permutation and never lowers the total similarity, so
    that the result is never worse than the identity. About O(N * group_size *
    (C + group_size)) a sweep, against O(N^3) for an exact solve, and from
    features (`match_frames`) without a matrix of N x N similarities. The draw
    is the same in every call: equal inputs give equal matchings. On a GPU with
    triton all of it is done there, see `ExactMatcher`.

    Up to ``max_cells`` patches it is the `ExactMatcher`. The defaults, chosen
    on two videos, keep about 0.95 of the exact gain over the identity on
    others of their frames; no share is guaranteed. More or larger groups keep
    more of it: see the README.

    Args:
        sweeps (int): Defaults to 4.
        group_size (int): Patches in a group. Defaults to 160.
        active (float): Share of the patches that a sweep matches anew.
            Defaults to 0.2.
        max_cells (int): Most cells in step 1. Defaults to 256.

    Raises:
        ValueError: If an argument is too small.
    """

    def __init__(self,
                 sweeps: int = 4,
                 group_size: int = 160,
                 active: float = 0.2,
                 max_cells: int = 256) -> None:
        if sweeps < 0 or group_size < 2 or max_cells < 1:
            raise ValueError(
                'Expected sweeps >= 0, group_size >= 2 and max_cells >= 1, '
                f'got {sweeps}, {group_size} and {max_cells}.')
        if not 0 < active <= 1:
            raise ValueError(f'Expected 0 < active <= 1, got {active}.')
        self.sweeps = sweeps
        self.group_size = group_size
        self.active = active
        self.max_cells = max_cells
        self.exact = ExactMatcher()

    def __repr__(self) -> str:
        return (f'CoarseToFineMatcher(sweeps={self.sweeps}, '
                f'group_size={self.group_size}, active={self.active}, '
                f'max_cells={self.max_cells})')

    def __call__(self, similarity: Tensor, grid: Grid = None) -> Tensor:
        """Match by similarities that are at hand.

        Args:
            similarity (Tensor): (..., N, N), S[i, j] of patch i in one frame
                and patch j in the next.
            grid (tuple[int, int], optional): Height and width of the patch
                grid, without which there is no coarse step. Defaults to None.

        Returns:
            Tensor: int64 permutations (..., N) on the input's device.

        Raises:
            ValueError: If the problems are not square, or hold NaN or
                infinity.
        """
        num = check_square(similarity)
        if num <= self.max_cells:
            return self.exact(similarity)
        problems = similarity.detach().float().reshape(-1, num, num)
        # Sorting and picking the worst would pass over NaN without a word.
        check_finite(problems)
        matching = self._match(DenseSimilarity(problems), grid)
        return matching.view(similarity.shape[:-1])

    def match_frames(self, x: Tensor, grid: Grid = None) -> Tensor:
        """Match by features, which takes far less memory and time.

        Args:
            x (Tensor): Patch features (B, T, N, C).
            grid (tuple[int, int], optional): As above. Defaults to None.

        Returns:
            Tensor: int64 permutations (B, T-1, N) on the input's device.

        Raises:
            ValueError: If x holds NaN or infinity.
        """
        if x.shape[2] <= self.max_cells:
            return match_frames(x, self.exact)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            x = F.normalize(x.float(), dim=-1)
            check_finite(x)
            return torch.stack([
                self._match(FeatureSimilarity(clip[:-1], clip[1:]), grid)
                for clip in x
            ])

    def _match(self, similarity: Similarity, grid: Grid) -> Tensor:
        num = similarity.shape[1]
        matching = self._start(similarity, grid)
        if matching.numel() == 0:  # a clip of one frame has no pair
            return matching
        draw = torch.Generator().manual_seed(0)
        for _ in range(self.sweeps):
            pair = torch.randint(num, (2, ), generator=draw).tolist()
            groups = self._alike(similarity, matching, *pair)
            matching = self._improve(similarity, matching, groups)
            similarity, matching = similarity.transposed(), invert(matching)
        return invert(matching) if self.sweeps % 2 else matching

    def _start(self, similarity: Similarity, grid: Grid) -> Tensor:
        matching = identity(*similarity.shape, device=similarity.device)
        matching = matching.contiguous()
        # Made where they are used: a copy to a GPU would hold the host up.
        cells = _cells(grid, similarity.shape[1], self.max_cells,
                       similarity.device)
        if cells is None or matching.numel() == 0:
            return matching
        matched = self.exact(similarity.cells(cells))  # (P, K)
        patches = cells.flatten().expand_as(matching)
        coarse = matching.scatter(1, patches, cells[matched].flatten(1))
        rows = cells.expand(len(coarse), -1, -1)
        coarse = self._improve(similarity, coarse, rows)
        gain = similarity.matched(coarse) - similarity.matched(matching)
        better = gain.mean(1, keepdim=True) > _ROUNDING
        return torch.where(better, coarse, matching)

    def _alike(self, similarity: Similarity, matching: Tensor, first: int,
               second: int) -> Tensor:
        """The worst matched patches in groups (P, K, s) of alike ones."""
        num = matching.shape[1]
        size = min(self.group_size, num)
        count = max(1, int(self.active * num) // size)
        worst = similarity.matched(matching).topk(
            count * size, largest=False, sorted=False).indices
        contrast = similarity.contrast(first, second).gather(1, worst)
        return worst.gather(1, contrast.argsort(1)).unflatten(1, (count, size))

    def _improve(self, similarity: Similarity, matching: Tensor,
                 rows: Tensor) -> Tensor:
        """Match each group (P, K, s) anew to the patches that it holds."""
        held = matching.gather(1, rows.flatten(1)).view_as(rows)
        block = similarity.blocks(rows, held)  # (P, K, s, s)
        best = self.exact(block)
        now = block.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True)
        then = block.gather(-1, best[..., None]).mean(-2)
        # Of equally good matchings the one at hand: equal patches stay.
        held = torch.where(then - now > _ROUNDING, held.gather(-1, best), held)
        return matching.scatter(1, rows.flatten(1), held.flatten(1))


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Patches (P, N, C) by groups of indices (P, K, s) -> (P, K, s, C)."""
    start = identity(len(x), device=x.device) * x.shape[1]
    index = index + start[:, None, None]
    taken = x.reshape(-1, x.shape[-1]).index_select(0, index.flatten())
    return taken.view(*index.shape, -1)


def _cells(grid: Grid,
           num: int,
           max_cells: int,
           device: Optional[torch.device] = None) -> Optional[Tensor]:
    """Patches (K, m) of the smallest square cells that are few enough."""
    if grid is None:
        return None
    patches = identity(num, device=device)
    height, width = grid
    for side in range(2, min(grid) + 1):
        fits = height % side == 0 and width % side == 0
        if side**2 > max_cells:  # the cells themselves would take long
            return None
        if fits and height * width <= max_cells * side**2:
            patches = patches.view(height // side, side, width // side, side)
            return patches.transpose(1, 2).reshape(-1, side**2)
    return None
