# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Linear assignment on the GPU: one Triton program solves one problem.

Successive shortest augmenting paths from the prices of a column reduction,
after Jonker and Volgenant, "A shortest augmenting path algorithm for dense and
sparse linear assignment problems", Computing 38 (1987). The plain reference is
`solve_scipy`.

The search state of a problem is a few vectors over its columns, in registers:
nothing is written to memory before the end, so that no thread depends on
another's stores. The arithmetic is in integers: equal inputs give equal
assignments, and every loop ends for any input, since each step closes a
column.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

# Longer than any path that is taken. It bounds lengths for NaN and infinity as
# well: shifted by 2 * BITS + 1 <= 21 bits, they remain below 2**63.
_FAR = tl.constexpr(2**33)
_NEVER = tl.constexpr(2**63 - 1)


@triton.jit
def _cost(similarity, scale, offsets, mask):
    """Load costs as int64, in -2**31..2**31 even for NaN and infinity."""
    loaded = tl.load(similarity + offsets, mask=mask, other=0.0)
    # The solver minimises. Negated in int64, where 2**31 exists.
    return -(loaded * scale).to(tl.int32).to(tl.int64)


@triton.jit
def _least_costs(similarity, scale, columns, N: tl.constexpr):
    """Column minima, the initial prices (dual variables)."""
    # With them all reduced costs are >= 0, as Dijkstra's search requires.
    inside = columns < N
    least = _cost(similarity, scale, columns, inside)
    for row in range(1, N):
        cost = _cost(similarity, scale, row * N + columns, inside)
        least = tl.minimum(least, cost)
    return least


@triton.jit
def _shortest_path(
    similarity,
    scale,
    row,
    owner,
    price,
    columns,
    N: tl.constexpr,
    BITS: tl.constexpr,
):
    """Dijkstra search from an unassigned row to an unassigned column.

    ``owner`` is 1 + the row assigned to a column, or 0. Path lengths are sums
    of reduced costs. Returns the final column; for every column a link,
    ``(column << BITS) + row``, to its predecessor on the path; and the new
    prices.
    """
    # One minimum over (length, owner, column), packed into an integer, gives
    # the nearest column and its owner; on ties an unassigned column. The owner
    # takes BITS + 1 bits, since it runs from 0 to N.
    tag = (owner.to(tl.int64) << BITS) + columns
    nearest = tl.full(columns.shape, _NEVER, tl.int64)
    link = tl.zeros(columns.shape, tl.int32)
    pending = columns < N
    column = tl.full([], 1 << BITS, tl.int32)  # none
    length = tl.full([], 0, tl.int64)
    # Price of the row: cost minus price at its own column, 0 for the start,
    # where a constant changes no comparison.
    own = tl.full([], 0, tl.int64)
    while row >= 0:
        # Relax the edges of the row, at the distance of its column.
        cost = _cost(similarity, scale, row * N + columns, columns < N)
        through = tl.minimum(length + cost - price - own, _FAR)
        through = (through << (2 * BITS + 1)) + tag
        closer = pending & (through < nearest)
        nearest = tl.where(closer, through, nearest)
        link = tl.where(closer, (column << BITS) + row, link)

        # Close the nearest column and go on with its owner; -1 ends it.
        best = tl.min(tl.where(pending, nearest, _NEVER), 0)
        length = best >> (2 * BITS + 1)
        row = ((best >> BITS) & ((2 << BITS) - 1)).to(tl.int32) - 1
        column = (best & ((1 << BITS) - 1)).to(tl.int32)
        pending = pending & (columns != column)
        own = _cost(similarity, scale, row * N + column, row >= 0)
        own -= tl.sum(tl.where(columns == column, price, 0), 0)
    # Lower the prices of closed columns, so that the path has reduced cost 0
    # and all others remain >= 0.
    closed = (columns < N) & (pending == 0)
    gain = length - (nearest >> (2 * BITS + 1))
    return column, link, price - tl.where(closed, gain, 0)


@triton.jit
def _solve(similarity, scale, matching, N: tl.constexpr, BITS: tl.constexpr):
    """Solve the problem of this program: similarities (N, N) -> (N,)."""
    problem = tl.program_id(0).to(tl.int64)  # P N^2 may exceed 2**31
    similarity += problem * N * N
    scale = tl.load(scale + problem)
    columns = tl.arange(0, 1 << BITS)
    price = _least_costs(similarity, scale, columns, N)
    owner = tl.zeros(columns.shape, tl.int32)
    # Rows are assigned one by one; those before may change their columns.
    for start in range(N):
        column, link, price = _shortest_path(
            similarity, scale, start, owner, price, columns, N, BITS
        )
        # Augment: shift the matches along the path, back to the start.
        while column < (1 << BITS):
            came = tl.sum(tl.where(columns == column, link, 0), 0)
            row = came & ((1 << BITS) - 1)
            owner = tl.where(columns == column, row + 1, owner)
            column = came >> BITS
    # owner maps columns to 1 + rows: stored by row, which inverts it.
    tl.store(
        matching + problem * N + owner - 1,
        columns.to(tl.int64),
        mask=columns < N,
    )


def solve_triton(similarity: Tensor) -> Tensor:
    """Solve a batch of problems on their device, asynchronously.

    Args:
        similarity (Tensor): fp32 of shape (P, N, N), N <= 1024, on a GPU. On
            the CPU only under triton's interpreter (TRITON_INTERPRET=1),
            slowly.

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
    matching = similarity.new_empty(num_problems, num, dtype=torch.int64)
    if matching.numel() == 0:
        return matching
    similarity = similarity.contiguous()
    _solve[(num_problems,)](
        similarity,
        _scale(similarity),
        matching,
        N=num,
        BITS=(num - 1).bit_length(),
        num_warps=num_warps(num),
    )
    return matching


def num_warps(num: int) -> int:
    """Return the number of warps for N columns, 1 to 4."""
    # At most 8 columns a thread, since more do not fit into registers; and no
    # more warps than that, since reductions across warps take longer.
    return max(1, triton.next_power_of_2(num) // 256)


def _scale(similarity: Tensor) -> Tensor:
    """Return powers of 2 that scale each problem's maximum to 2**29..2**30."""
    exponent = torch.frexp(similarity.abs().amax((1, 2))).exponent
    # Powers of 2 round no similarity. Clamped to the exponents of normal fp32
    # numbers, for problems of zeros, denormals or infinity.
    power = (30 - exponent).clamp(-126, 127)
    return ((power + 127) << 23).view(torch.float32)  # exact, by its bits
