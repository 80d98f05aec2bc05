# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Nearly optimal matching of large maps, coarse to fine.

Not in the paper, which solves every size exactly. At 56x56 patches, stage 1
of ConvNeXt, one exact solve takes a second or more.
"""

import torch
from torch import Tensor

from ..norms import normalize
from ..permutation import identity, invert
from ..tracing import is_tracing
from ..types import Grid
from ..validation import (
    check_counts,
    check_finite,
    check_grid,
    check_square,
    is_number,
)
from .base import Matcher, Matching
from .exact import ExactMatcher
from .operator import match_pairs, register_matcher
from .similarity import unfold_support
from .views import DenseSimilarity, FeatureSimilarity, Similarity

# Gains below the rounding of a mean of fp32 similarities are none: without the
# bound, equally good patches would be exchanged, and still scenes would move.
_ROUNDING = 1e-6

# Fraction of the patches that the first sweep matches anew. More of them gain
# more similarity where much has changed, and lose motion that is found.
_ANEW = 0.5

# Rows compared with all columns, at most. Twice as many on 56x56 patches keep
# 0.01 more of the exact gain in similarity, and take a sixth more time.
_MAX_COMPARED = 2048

# Similarities computed at a time, to find the largest: as many as fit into the
# level-2 cache of a CPU core, and 256 MB on a GPU.
_CPU_BLOCK, _GPU_BLOCK = 2**18, 2**26

# Numbers of the clips that are matched together on a GPU, which needs much to
# do in each operation: their features and the similarities in groups. Copies
# included, an estimated 4 GB.
_GPU_NUMBERS = 2**27


@register_matcher
class CoarseToFineMatcher(Matcher):
    """One-to-one matcher of large maps, nearly optimal.

    1. Start: patches that are each other's nearest neighbours vote for a
       cyclic shift of the whole grid, as a camera pan causes. Without a grid
       nothing is shifted. Then these pairs are matched, and the other patches
       as the shift says, as far as it is free. Each of the two steps is kept
       for the frame pairs whose similarity it raises.
    2. First sweep: the worse matched half of the patches gives up its matches.
       Both sides are cut into halves again and again, in the order of the
       leading singular vectors of their similarities, until groups of similar
       patches remain, which are matched exactly.
    3. Further sweeps: the worst matched patches are cut into groups of similar
       patches likewise, together with their matches, and each group is matched
       again, exactly, to the patches it already holds. The frames of a pair
       alternate in being cut.
    4. Equal patches, as of a plain wall or a black border, return to their
       places, as far as others do not lose by it.

    Every step keeps a permutation and lowers the mean similarity by rounding
    at most: the result is never worse than the identity. From features
    (`match_pairs`) the nearest neighbours of at most 2048 patches take
    O(2048 N C) time, a sweep O(N * group_size * (C + group_size)), against
    O(N^3) of an exact solve, and no N x N matrix is stored. Equal inputs give
    equal matchings. On a GPU with triton everything runs there, see
    `ExactMatcher`.

    Up to ``max_exact`` patches this is `ExactMatcher`. The defaults keep about
    0.95 of the exact gain in similarity over the identity, and follow motion
    as far as an exact matching does, on photos and videos of which other
    frames chose them; no share is guaranteed. More sweeps or larger groups
    keep more of the gain.

    Args:
        sweeps (int): Number of sweeps, with the first one. Defaults to 4.
        group_size (int): Largest number of patches in a group. Defaults to
            200.
        active (float): Fraction of the patches matched again in a sweep after
            the first. Defaults to 0.2.
        max_exact (int): Largest number of patches a frame that is matched
            exactly. Defaults to 256.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        sweeps: int = 4,
        group_size: int = 200,
        active: float = 0.2,
        max_exact: int = 256,
    ) -> None:
        check_counts(0, sweeps=sweeps)
        check_counts(2, group_size=group_size)
        check_counts(max_exact=max_exact)
        if not is_number(active) or not 0 < active <= 1:
            raise ValueError(
                'Expected active to be a fraction above 0 and up to 1, got '
                f'{active!r}.'
            )
        self.sweeps = int(sweeps)
        self.group_size = int(group_size)
        self.active = float(active)
        self.max_exact = int(max_exact)
        self._exact = ExactMatcher(
            max_patches=max(max_exact, group_size, 4096)
        )

    def match(self, similarity: Tensor, grid: Grid | None = None) -> Tensor:
        """Match by given similarities.

        Args:
            similarity (Tensor): (..., N, N); ``[..., i, j]`` compares patch i
                of a frame with patch j of the next one.
            grid (tuple[int, int], optional): Height and width of the patch
                grid. Defaults to None, without a shift of the grid.

        Returns:
            Tensor: int64 permutations (..., N) on the input's device.

        Raises:
            ValueError: If the problems are not square, or hold NaN or
                infinity; if ``grid`` does not hold N patches.
        """
        num = check_square(similarity)
        if grid is not None:
            check_grid(grid, num)
        if num <= self.max_exact or similarity.numel() == 0:
            return self._exact.match(similarity)
        problems = similarity.detach().float().reshape(-1, num, num)
        # Sorting and topk would accept NaN silently.
        check_finite(problems)
        with torch.autocast(similarity.device.type, enabled=False):
            matching = self._match(DenseSimilarity(problems), grid)
        return matching.view(similarity.shape[:-1])

    def match_pairs(
        self,
        source: Tensor,
        target: Tensor,
        grid: Grid | None = None,
        min_similarity: float | None = None,
        support_radius: int = 0,
    ) -> Matching:
        """Match by features, in far less memory and time than `match`.

        For arguments and errors see `Matcher.match_pairs`.

        Returns:
            Matching: int64 permutations of shape (B, P, N).
        """
        pairs, num = target.shape[1:3]
        if num <= self.max_exact or target.numel() == 0:
            return super().match_pairs(
                source, target, grid, min_similarity, support_radius
            )

        if is_tracing() and type(self) is CoarseToFineMatcher:
            return match_pairs(
                self,
                source,
                target,
                grid,
                min_similarity,
                support_radius,
            )

        def prepare(x: Tensor) -> Tensor:
            x = normalize(x)
            check_finite(x)
            if support_radius:
                x = unfold_support(x, check_grid(grid, num), support_radius)
            x = x.expand(-1, pairs, -1, -1)
            return x.reshape(-1, *x.shape[2:]).contiguous()

        # Some at a time: the groups of a sweep are copies of features.
        clips = self._clips_at_once(target, support_radius)
        with (
            torch.no_grad(),
            torch.autocast(target.device.type, enabled=False),
        ):
            matchings, accepted = [], []
            for first, second in zip(source.split(clips), target.split(clips)):
                similarity = FeatureSimilarity(
                    prepare(first), prepare(second), min_similarity
                )
                matchings.append(self._match(similarity, grid))
                if min_similarity is not None:
                    matched = similarity.matched(matchings[-1])
                    accepted.append(matched > min_similarity)
            shape = target.shape[:3]
            return Matching(
                torch.cat(matchings).view(shape),
                torch.cat(accepted).view(shape) if accepted else None,
            )

    def can_compile(self, device: torch.device, num_patches: int) -> bool:
        """Return whether the matching is the operator, as of no subclass."""
        return type(self) is CoarseToFineMatcher

    def _clips_at_once(self, target: Tensor, support_radius: int) -> int:
        if not target.is_cuda:
            return 1  # more gain nothing, and leave the cache
        _, pairs, num, channels = target.shape
        numbers = channels * (2 * support_radius + 1) ** 2
        numbers += 2 * self.group_size
        return max(1, _GPU_NUMBERS // (pairs * num * numbers))

    def _match(self, similarity: Similarity, grid: Grid | None) -> Tensor:
        matching = _start(similarity, grid)
        for sweep in range(self.sweeps):
            if sweep == 0:
                matching = self._match_anew(similarity, matching)
            else:
                matching = self._improve(similarity, matching)
            # The other frame's patches are cut in the next sweep.
            similarity, matching = similarity.transposed(), invert(matching)
        matching = _settle(similarity, matching)
        return invert(matching) if self.sweeps % 2 else matching

    def _match_anew(self, similarity: Similarity, matching: Tensor) -> Tensor:
        """Match the worse half again, each row to any of its columns."""
        rows, halvings = self._worst(similarity, matching, _ANEW)
        columns = _held(matching, rows)
        for _ in range(halvings):
            group = similarity.select(rows, columns)
            row, column = _singular_vectors(group)
            rows, columns = _halve(rows, row), _halve(columns, column)
        best = self._exact.match(similarity.select(rows, columns).dense())
        matched = columns.gather(-1, best)
        found = matching.scatter(1, rows.flatten(1), matched.flatten(1))
        return _better(similarity, matching, found)

    def _improve(self, similarity: Similarity, matching: Tensor) -> Tensor:
        """Match the worst matched patches again, within groups."""
        rows, halvings = self._worst(similarity, matching, self.active)
        for _ in range(halvings):
            group = similarity.select(rows, _held(matching, rows))
            rows = _halve(rows, group.times(_contrast(group)))
        columns = _held(matching, rows)
        block = similarity.select(rows, columns).dense()  # (P, K, s, s)
        # Groups are disjoint, and exchange patches within themselves only:
        # all of them are solved in one batch, and a permutation remains one.
        best = self._exact.match(block)
        before = block.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True)
        after = block.gather(-1, best[..., None]).mean(-2)
        # Keep the current one of equally good matchings: equal patches stay.
        better = after - before > _ROUNDING
        columns = torch.where(better, columns.gather(-1, best), columns)
        return matching.scatter(1, rows.flatten(1), columns.flatten(1))

    def _worst(
        self, similarity: Similarity, matching: Tensor, fraction: float
    ) -> tuple[Tensor, int]:
        """Return the worst matched patches, and how often to halve them.

        Args:
            similarity (Similarity): Of P frame pairs.
            matching (Tensor): Current permutations (P, N).
            fraction (float): Of the patches.

        Returns:
            tuple: int64 patches (P, 1, n), one group, and the number of
            halvings after which groups have at most ``group_size`` patches.
        """
        num = matching.shape[1]
        count = min(num, max(2, int(fraction * num)))
        halvings = 0
        while count >> halvings > self.group_size:
            halvings += 1
        count = count >> halvings << halvings
        worst = similarity.matched(matching).topk(count, largest=False)
        return worst.indices[:, None], halvings


def _start(similarity: Similarity, grid: Grid | None) -> Tensor:
    """Return the best permutation of three for each frame pair: (P, N)."""
    matching = identity(*similarity.shape, device=similarity.device)
    matching = matching.contiguous()
    nearest, mutual = _nearest_neighbours(similarity)
    if grid is not None:
        grid = check_grid(grid, matching.shape[1])
        shifted = _voted_shift(nearest, mutual, grid)
        matching = _better(similarity, matching, shifted)
    completed = _complete(nearest, mutual, matching)
    return _better(similarity, matching, completed)


def _nearest_neighbours(similarity: Similarity) -> tuple[Tensor, Tensor]:
    """Return the nearest neighbour of each row, and whether it is mutual.

    In large maps only every n-th row is compared, with all columns; the rows
    between move as the compared one before them.

    Args:
        similarity (Similarity): Of shape (P, N).

    Returns:
        tuple: Columns, int64, and bool, of shape (P, N) each.
    """
    pairs, num = similarity.shape
    stride = -(-num // _MAX_COMPARED)
    block = _GPU_BLOCK if similarity.device.type == 'cuda' else _CPU_BLOCK
    compared = -(-num // stride)
    size = min(compared, max(1, block // num))
    together = max(1, block // (compared * num))  # frame pairs
    nearest, mutual = [], []
    for first in range(0, pairs, together):
        columns, values, largest = [], [], []
        chosen = slice(first, first + together)
        for rows in similarity.blocks(chosen, stride, size):
            column = _argmax(rows)
            columns.append(column)
            values.append(rows.gather(2, column[..., None]).squeeze(2))
            largest.append(rows.amax(1))
        nearest.append(torch.cat(columns, 1))
        # Equal to the bit: both are maxima of the same numbers.
        most = torch.stack(largest).amax(0).gather(1, nearest[-1])
        mutual.append(torch.cat(values, 1) == most)
    between = identity(stride, device=similarity.device)
    moved = torch.cat(nearest)[..., None] + between
    found = torch.cat(mutual)[..., None] & (moved < num)
    moved = moved.clamp_max(num - 1)
    return moved.flatten(1)[:, :num], found.flatten(1)[:, :num]


def _argmax(block: Tensor) -> Tensor:
    """Return the column of the largest value of each row: (P, n)."""
    if block.device.type != 'cpu':
        return block.argmax(-1)
    # numpy's is vectorised, torch's on the CPU takes eight times as long.
    try:
        return torch.from_numpy(block.numpy().argmax(-1))
    except RuntimeError:  # no values, as in tracing or torch.func
        return block.argmax(-1)


def _voted_shift(nearest: Tensor, mutual: Tensor, grid: Grid) -> Tensor:
    """Shift the grid cyclically by the most frequent displacement: (P, N)."""
    height, width = grid
    patch = identity(*nearest.shape, device=nearest.device)
    row, column = patch // width, patch % width
    down = (nearest // width - row) % height
    right = (nearest % width - column) % width
    votes = torch.zeros_like(nearest)
    votes = votes.scatter_add(1, down * width + right, mutual.long())
    shift = votes.argmax(1, keepdim=True)
    row = (row + shift // width) % height
    return row * width + (column + shift % width) % width


def _complete(nearest: Tensor, mutual: Tensor, matching: Tensor) -> Tensor:
    """Complete mutual nearest neighbours to permutations (P, N).

    Args:
        nearest (Tensor): Best column of each row, (P, N).
        mutual (Tensor): Which of these to match, bool of shape (P, N).
        matching (Tensor): Permutations (P, N), which the other rows follow: to
            the column of their own; if that is taken, to the one of the row
            that has taken it, and so on to one that is free.

    Returns:
        Tensor: int64 of shape (P, N).
    """
    num = matching.shape[1]
    order = identity(*matching.shape, device=matching.device)
    # The row that takes each column; of equally similar rows the first one.
    # One more column collects the rows without a mutual neighbour.
    owner = order.new_full((len(order), num + 1), num)
    owner = owner.scatter_reduce(
        1, torch.where(mutual, nearest, num), order, 'amin'
    )
    mutual = mutual & (owner.gather(1, nearest) == order)
    owner = owner[:, :num]
    step = matching.gather(1, owner.clamp_max(num - 1))
    step = torch.where(owner < num, step, order)
    # Two rows never follow to the same column, since neither matching repeats
    # one. Doubling the steps reaches the end of a path of N columns.
    for _ in range(num.bit_length()):
        step = step.gather(1, step)
    return torch.where(mutual, nearest, step.gather(1, matching))


def _settle(similarity: Similarity, matching: Tensor) -> Tensor:
    """Return patches to their places where that is as good: (P, N)."""
    place = identity(*matching.shape, device=matching.device)
    own, found = similarity.matched(place), similarity.matched(matching)
    # As similar as the match of the patch, and as that of the place.
    other = found.gather(1, invert(matching))
    stays = own >= torch.maximum(found, other) - _ROUNDING
    settled = _complete(place, stays, matching)
    gain = similarity.matched(settled) - found
    return torch.where(
        gain.mean(1, keepdim=True) >= -_ROUNDING, settled, matching
    )


def _better(similarity: Similarity, old: Tensor, new: Tensor) -> Tensor:
    """Choose the better permutation (P, N) for each frame pair."""
    gain = similarity.matched(new) - similarity.matched(old)
    return torch.where(gain.mean(1, keepdim=True) > _ROUNDING, new, old)


def _held(matching: Tensor, rows: Tensor) -> Tensor:
    """Return the columns of rows (P, K, s) in permutations (P, N)."""
    return matching.gather(1, rows.flatten(1)).view_as(rows)


def _contrast(group: Similarity) -> Tensor:
    """Return weights 1 of the first patch and -1 of the last: (P, K, s)."""
    weight = torch.zeros(group.shape, dtype=torch.float32, device=group.device)
    weight[..., 0] = 1
    weight[..., -1] = -1
    return weight


def _singular_vectors(group: Similarity) -> tuple[Tensor, Tensor]:
    """Approximate the leading singular vectors of centred similarities.

    A similarity of rank one, u v^T, has its largest sum where rows and columns
    are matched in the order of u and of v (rearrangement inequality).

    Args:
        group (Similarity): Of shape (P, K, s).

    Returns:
        tuple: Scores of the rows and of the columns, (P, K, s) each.
    """
    transposed = group.transposed()
    rows = columns = _contrast(group)
    for _ in range(2):
        columns = transposed.times(rows - rows.mean(-1, keepdim=True))
        rows = group.times(columns - columns.mean(-1, keepdim=True))
    return rows, columns


def _halve(groups: Tensor, score: Tensor) -> Tensor:
    """Cut groups in two by a score: (P, K, s) -> (P, 2K, s / 2)."""
    groups = groups.gather(-1, score.argsort(-1))
    return groups.view(len(groups), -1, groups.shape[2] // 2)
