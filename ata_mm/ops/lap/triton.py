# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Linear assignment on the GPU: one Triton program solves one problem.

Two kernels, after Jonker and Volgenant, "A shortest augmenting path algorithm
for dense and sparse linear assignment problems", Computing 38 (1987). The
plain reference is `solve_scipy`.

1. `_prepare` converts the similarities to integer costs, takes the column
   minima as prices (column reduction), and gives each column to the first row
   that is nearest to it. The distance of a row to a column is cost - price.
2. `_solve` matches the rows that are left: passes of augmenting row reduction,
   then one shortest augmenting path a row. Dijkstra's search closes one column
   a step, which waits for a row of costs. Here a step closes the nearest
   column of each group and fetches their rows together. A column that a later
   step reaches by a shorter path is closed again (label-correcting, as
   in Meyer and Sanders, "Delta-stepping", Journal of Algorithms 49 (2003)).

The state of a problem is a few vectors over its columns, in registers: nothing
is written to memory before the end, so that no thread depends on another's
stores. Equal inputs give equal assignments.

Every loop ends for any input: the costs are integers of magnitude below
C = 2**28, and 0 in a problem that holds NaN or infinity, so that distances are
exact. The column of a matched row stays its nearest one, and a column without
owner keeps its minimum as price. Since such a column exists until the last row
is matched:

- Distances are at least 0, and a matched row is at distance at most 2 C, that
  of a column without owner. Thus prices are above -3 C, distances below 4 C,
  and path lengths below 8 C = 2**31: nothing overflows.
- A pass of row reduction takes each waiting row once.
- A step of a search closes the nearest of all columns for good, as no path
  through a farther one is shorter: at most N steps. A link is replaced only by
  a shorter path, so that links form no cycle.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

GROUPS = 4  # columns closed in one step of a search: 1, 2 or 4
PASSES = 8  # of augmenting row reduction
MIN_LENGTH = 32  # columns of a group, one for each lane of a warp

_FAR = tl.constexpr(2**31 - 1)  # longer than any path
_DONE = tl.constexpr(-(2**31))  # length of a column that is never closed
_NO_ROW = tl.constexpr(2**30)


@triton.jit
def _costs(similarity, scale, rows, columns, mask, N: tl.constexpr):
    """Load the costs of some rows, 0 where masked out."""
    offsets = rows[:, None] * N + columns[None, :]
    loaded = tl.load(similarity + offsets, mask=mask, other=0.0)
    return (loaded * -scale).to(tl.int32)  # the solver minimises


@triton.jit
def _prepare(
    similarity,
    costs,
    prices,
    owners,
    matching,
    N: tl.constexpr,
    STRIDE: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Write costs (N, STRIDE), prices (N,), owners (N,), and a partial match.

    ``owners`` is 1 + the row matched with a column, or 0. In ``matching``, the
    rows that found their column taken keep their value.
    """
    problem = tl.program_id(0).to(tl.int64)  # P N^2 may exceed 2**31
    similarity += problem * N * N
    costs += problem * N * STRIDE
    columns = tl.arange(0, COLUMNS)

    # Powers of 2 round no similarity. The largest magnitude, compared by its
    # bits, is scaled to 2**27..2**28, if the power is a normal fp32 number.
    largest = tl.zeros([COLUMNS], tl.int32)
    for first in range(0, N, ROWS):
        rows = first + tl.arange(0, ROWS)
        mask = (rows < N)[:, None] & (columns < N)[None, :]
        offsets = rows[:, None] * N + columns[None, :]
        loaded = tl.load(similarity + offsets, mask=mask, other=0.0)
        bits = loaded.to(tl.int32, bitcast=True) & 0x7FFFFFFF
        largest = tl.maximum(largest, tl.max(bits, 0))
    exponent = tl.max(largest, 0) >> 23
    finite = exponent < 255
    power = tl.minimum(tl.maximum(281 - exponent, 1), 254)
    scale = (power << 23).to(tl.float32, bitcast=True)

    price = tl.full([COLUMNS], _FAR, tl.int32)
    for first in range(0, N, ROWS):
        rows = first + tl.arange(0, ROWS)
        mask = (rows < N)[:, None] & (columns < N)[None, :]
        cost = _costs(similarity, scale, rows, columns, mask & finite, N)
        offsets = rows[:, None] * STRIDE + columns[None, :]
        tl.store(costs + offsets, cost, mask=mask)
        price = tl.minimum(price, tl.min(tl.where(mask, cost, _FAR), 0))

    owner = tl.full([COLUMNS], N, tl.int32)
    for first in range(0, N, ROWS):
        rows = first + tl.arange(0, ROWS)
        mask = (rows < N)[:, None] & (columns < N)[None, :]
        cost = _costs(similarity, scale, rows, columns, mask & finite, N)
        distance = tl.where((columns < N)[None, :], cost - price, _FAR)
        nearest = distance == tl.min(distance, 1)[:, None]
        best = tl.min(tl.where(nearest, columns[None, :], COLUMNS), 1)
        claims = mask & (columns[None, :] == best[:, None])
        owner = tl.minimum(
            owner, tl.min(tl.where(claims, rows[:, None], N), 0)
        )
    taken = owner < N
    at = problem * N + columns
    tl.store(prices + at, price, mask=columns < N)
    tl.store(owners + at, tl.where(taken, owner + 1, 0), mask=columns < N)
    tl.store(matching + problem * N + owner, columns.to(tl.int64), mask=taken)


@triton.jit
def _min(values):
    return tl.min(tl.min(values, 1), 0)


@triton.jit
def _at(values, here):
    """Return the value at the one place where ``here`` is true, else 0."""
    return tl.sum(tl.sum(tl.where(here, values, 0), 1), 0)


@triton.jit
def _reduce_rows(
    costs,
    waiting,
    owner,
    price,
    own,
    columns,
    N: tl.constexpr,
    STRIDE: tl.constexpr,
    BITS: tl.constexpr,
):
    """Augmenting row reduction: one pass over the waiting rows.

    A row takes its nearest column from the row that owns it, at the price at
    which its second nearest one is as near. Without a difference between the
    two, it takes the column only if nobody owns it.
    """
    END: tl.constexpr = 1 << BITS
    scans = tl.full([], 0, tl.int32)
    queue = waiting
    row = _min(queue)
    cost = tl.load(costs + (row & (END - 1)) * STRIDE + columns)
    while row < _NO_ROW:
        scans += 1
        # Requested now, used in the next iteration. Row 0 after the last one.
        queue = tl.where(columns == row, _NO_ROW, queue)
        following = _min(queue)
        ahead = tl.load(costs + (following & (END - 1)) * STRIDE + columns)

        distance = tl.where(columns < N, cost - price, _FAR)
        low = _min(distance)
        tag = (owner << BITS) + columns
        best = _min(tl.where(distance == low, tag, _FAR))
        here = columns == (best & (END - 1))
        second = _min(tl.where(here, _FAR, distance))
        rise = tl.where(second == _FAR, 0, second - low)  # 0 if N = 1

        wins = (rise > 0) | (best < END)
        loser = tl.where(wins, (best >> BITS) - 1, row)  # -1: nobody
        waiting = tl.where(columns == row, _NO_ROW, waiting)
        waiting = tl.where(columns == loser, loser, waiting)
        here = here & wins
        owner = tl.where(here, row + 1, owner)
        price -= tl.where(here, rise, 0)
        own = tl.where(here, low + rise, own)
        row = following
        cost = ahead
    return waiting, owner, price, own, scans


@triton.jit
def _nearest(length, closed, tag):
    """Return each group's least length and its tag, and those of all."""
    # A column is pending if its length is below that at which it was closed.
    pending = tl.where(length < closed, length, _FAR)
    low = tl.min(pending, 1)
    best = tl.min(tl.where(pending == low[:, None], tag, _FAR), 1)
    least = tl.min(low, 0)
    return low, best, least, tl.min(tl.where(low == least, best, _FAR), 0)


@triton.jit
def _search(
    costs,
    start,
    owner,
    price,
    own,
    columns,
    group,
    N: tl.constexpr,
    STRIDE: tl.constexpr,
    BITS: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """Search the shortest path from a row to a column without owner.

    Returns the column; the length of its path; for every column the length of
    the shortest path that was found, and a link to its predecessor,
    ``(column << BITS) + row``; and the number of steps.
    """
    END: tl.constexpr = 1 << BITS
    cost = tl.load(costs + start * STRIDE + columns)
    length = tl.where(columns < N, cost - price, _DONE)
    closed = tl.where(columns < N, _FAR, _DONE)
    link = tl.zeros(columns.shape, tl.int32) + ((END << BITS) + start)
    # The least tag among the nearest columns is that of one without owner.
    tag = (owner << BITS) + columns
    low, best, least, column = _nearest(length, closed, tag)
    steps = tl.full([], 1, tl.int32)
    while column >= END:
        steps += 1
        # A group waits while it has no pending column, or its nearest one has
        # no owner. The start's row in its place changes nothing.
        active = (low < _FAR) & (best >= END)
        nearest = tl.where(active, best & (END - 1), -1)
        row = tl.where(active, (best >> BITS) - 1, start)
        via = (nearest << BITS) + row
        here = columns == nearest[:, None]
        closed = tl.where(here, length, closed)
        offset = low - tl.sum(tl.where(here, own, 0), 1)
        offset = tl.where(active, offset, 0)
        for k in tl.static_range(GROUPS):
            this = group == k
            cost = tl.load(
                costs + tl.sum(tl.where(this, row, 0), 0) * STRIDE + columns
            )
            through = cost - price + tl.sum(tl.where(this, offset, 0), 0)
            closer = through < length
            length = tl.where(closer, through, length)
            link = tl.where(closer, tl.sum(tl.where(this, via, 0), 0), link)
        low, best, least, column = _nearest(length, closed, tag)
    return column, least, length, link, steps


@triton.jit
def _augment(column, least, link, owner, own, columns, BITS: tl.constexpr):
    """Shift the matches along a path, back to the start."""
    END: tl.constexpr = 1 << BITS
    while column < END:
        here = columns == column
        via = _at(link, here)
        column = via >> BITS
        owner = tl.where(here, (via & (END - 1)) + 1, owner)
        moved = tl.where(column == END, least, _at(own, columns == column))
        own = tl.where(here, moved, own)
    return owner, own


@triton.jit
def _solve(
    costs,
    prices,
    owners,
    matching,
    steps,
    N: tl.constexpr,
    STRIDE: tl.constexpr,
    BITS: tl.constexpr,
    GROUPS: tl.constexpr,
    LENGTH: tl.constexpr,
    PASSES: tl.constexpr,
):
    """Complete the matching (N,) of the problem of this program."""
    problem = tl.program_id(0).to(tl.int64)
    costs += problem * N * STRIDE
    # Interleaved groups: a thread loads neighbouring columns of all of them.
    group = tl.arange(0, GROUPS)
    columns = tl.arange(0, LENGTH)[None, :] * GROUPS + group[:, None]
    inside = columns < N
    at = problem * N + columns
    price = tl.load(prices + at, mask=inside, other=0)
    owner = tl.load(owners + at, mask=inside, other=0)
    matched = tl.load(matching + at, mask=inside, other=0)
    waiting = tl.where(matched < 0, columns, _NO_ROW)  # rows, not columns
    # For every column the distance of its owner.
    taken = owner > 0
    own = tl.load(costs + (owner - 1) * STRIDE + columns, mask=taken, other=0)
    own = tl.where(taken, own - price, 0)

    scanned = tl.full([], 0, tl.int32)
    for _ in range(PASSES):
        waiting, owner, price, own, scans = _reduce_rows(
            costs, waiting, owner, price, own, columns, N, STRIDE, BITS
        )
        scanned += scans
    searched = tl.full([], 0, tl.int32)
    start = _min(waiting)
    while start < _NO_ROW:
        column, least, length, link, count = _search(
            costs,
            start,
            owner,
            price,
            own,
            columns,
            group,
            N,
            STRIDE,
            BITS,
            GROUPS,
        )
        searched += count
        # Raise the distances of closed columns: the path then runs along the
        # nearest columns of its rows, and the others keep theirs.
        gain = tl.where(inside & (length < least), least - length, 0)
        price -= gain
        own += gain
        owner, own = _augment(column, least, link, owner, own, columns, BITS)
        waiting = tl.where(columns == start, _NO_ROW, waiting)
        start = _min(waiting)
    # owner maps columns to 1 + rows: stored by row, which inverts it.
    tl.store(
        matching + problem * N + owner - 1,
        columns.to(tl.int64),
        mask=inside,
    )
    if steps is not None:
        tl.store(steps + 2 * problem, scanned)
        tl.store(steps + 2 * problem + 1, searched)


def solve_triton(similarity: Tensor, steps: Tensor | None = None) -> Tensor:
    """Solve a batch of problems on their device, asynchronously.

    Similarities of a problem are truncated to multiples of at most 2**-27 of
    its largest magnitude, which leaves those of at least 1/16 of it as they
    are; the sum may miss the optimum by at most N * 2**-26 of it. A problem
    that holds NaN or infinity gets the identity.

    Args:
        similarity (Tensor): fp32 of shape (P, N, N), N <= 1024, on a GPU. On
            the CPU only under triton's interpreter (TRITON_INTERPRET=1),
            slowly.
        steps (Tensor, optional): int32 of shape (P, 2) on the same device,
            contiguous. Receives the serial work of each problem: the rows
            scanned by row reduction, and the steps of its searches. Defaults
            to None.

    Returns:
        Tensor: int64 permutations of shape (P, N) that maximise the sum.

    Raises:
        ValueError: If the problems are on the CPU without the interpreter.
    """
    # Under the interpreter _solve is of another class. Triton's own error does
    # not say which other solver to use.
    if not similarity.is_cuda and isinstance(_solve, triton.JITFunction):
        raise ValueError(
            "solver='triton' expected similarities on a GPU, got "
            f'them on {similarity.device}; use another solver.'
        )
    num_problems, num, _ = similarity.shape
    matching = similarity.new_full((num_problems, num), -1, dtype=torch.int64)
    if matching.numel() == 0:
        return matching
    size = triton.next_power_of_2(num)
    length = max(MIN_LENGTH, size // GROUPS)
    stride = -(-num // 4) * 4  # 16 bytes: threads load 4 costs at a time
    # Columns beyond N are loaded, too, of the next row or of this margin.
    costs = similarity.new_empty(
        num_problems * num * stride + GROUPS * length, dtype=torch.int32
    )
    prices = torch.empty_like(matching, dtype=torch.int32)
    owners = torch.empty_like(prices)
    # Triton launches on the current device, which may be another one.
    with torch.cuda.device_of(similarity):
        _prepare[(num_problems,)](
            similarity.contiguous(),
            costs,
            prices,
            owners,
            matching,
            N=num,
            STRIDE=stride,
            COLUMNS=size,
            ROWS=min(size, 8192 // size),
            num_warps=8,
        )
        _solve[(num_problems,)](
            costs,
            prices,
            owners,
            matching,
            steps,
            N=num,
            STRIDE=stride,
            BITS=(num - 1).bit_length(),
            GROUPS=GROUPS,
            LENGTH=length,
            PASSES=PASSES,
            num_warps=num_warps(num),
        )
    return matching


def num_warps(num: int) -> int:
    """Return the number of warps for N columns, 1 to 4."""
    # At most 8 columns a thread, since more do not fit into registers; and no
    # more warps than that, since reductions across warps take longer.
    return max(1, triton.next_power_of_2(num) // 256)
