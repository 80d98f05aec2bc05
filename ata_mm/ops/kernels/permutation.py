# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Routes, inverse permutations, and the reordering of patches."""

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 8  # patches that a program reorders
COLUMNS = 256  # channels of them


@triton.jit
def _scatter(inverse, permutation, order, num):
    """Store the inverse of a permutation; -1 where an index is missing."""
    tl.store(inverse + order, -1, mask=order < num)
    tl.debug_barrier()  # other threads store to the same addresses
    valid = (order < num) & (permutation >= 0) & (permutation < num)
    tl.store(inverse + permutation, order, mask=valid)


@triton.jit
def _invert(permutation, inverse, num, BLOCK: tl.constexpr):
    """Invert the permutation of this program."""
    start = tl.program_id(0).to(tl.int64) * num
    order = tl.arange(0, BLOCK).to(tl.int64)
    index = tl.load(permutation + start + order, mask=order < num, other=-1)
    _scatter(inverse + start, index, order, num)


@triton.jit
def _chain(
    matching,
    routes,
    inverse,
    num,
    PAIRS: tl.constexpr,
    FOLLOW: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compose the matchings of the clip of this program."""
    clip = tl.program_id(0).to(tl.int64)
    matching += clip * PAIRS * num
    routes += clip * (PAIRS + 1) * num
    inverse += clip * (PAIRS + 1) * num
    order = tl.arange(0, BLOCK).to(tl.int64)
    inside = order < num
    place = order
    tl.store(routes + order, order, mask=inside)
    tl.store(inverse + order, order, mask=inside)
    for _ in range(PAIRS):
        routes += num
        inverse += num
        if not FOLLOW:
            place = order
        place = tl.load(matching + place, mask=inside, other=0)
        # Whatever a matcher returns, the next frame is read within bounds.
        place = tl.minimum(tl.maximum(place, 0), num - 1)
        tl.store(routes + order, place, mask=inside)
        _scatter(inverse, place, order, num)
        matching += num


@triton.jit
def _take(
    x,
    index,
    y,
    rows,
    frames,
    num,
    channels,
    stride_b,
    stride_t,
    stride_n,
    stride_c,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Gather some channels of some patches."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    # In int64, after the divisions: elements may exceed 2**31.
    clip = (row // num // frames).to(tl.int64)
    frame = (row // num % frames).to(tl.int64)
    patch = tl.load(index + row, mask=row < rows, other=-1)
    inside = (row < rows)[:, None] & (column < channels)
    valid = (patch >= 0) & (patch < num)
    start = clip * stride_b + frame * stride_t + patch * stride_n
    offsets = start[:, None] + column.to(tl.int64) * stride_c
    missing = float('nan') if y.dtype.element_ty.is_floating() else 0
    values = tl.load(x + offsets, mask=inside & valid[:, None], other=missing)
    offsets = row.to(tl.int64)[:, None] * channels + column
    tl.store(y + offsets, values, mask=inside)


def invert_permutation(permutation: Tensor) -> Tensor:
    """Launch the kernel; see `operators.invert_permutation`."""
    permutation = permutation.contiguous()
    inverse = torch.empty_like(permutation)
    if inverse.numel():
        num = permutation.shape[-1]
        block = triton.next_power_of_2(num)
        with torch.cuda.device_of(permutation):
            _invert[(permutation.numel() // num,)](
                permutation,
                inverse,
                num,
                BLOCK=block,
                num_warps=num_warps(block),
            )
    return inverse


def chain_matching(matching: Tensor, follow: bool) -> tuple[Tensor, Tensor]:
    """Launch the kernel; see `operators.chain_matching`."""
    matching = matching.contiguous()
    batch, pairs, num = matching.shape
    routes = matching.new_empty(batch, pairs + 1, num)
    inverse = torch.empty_like(routes)
    if routes.numel():
        block = triton.next_power_of_2(num)
        with torch.cuda.device_of(matching):
            _chain[(batch,)](
                matching,
                routes,
                inverse,
                num,
                PAIRS=pairs,
                FOLLOW=follow,
                BLOCK=block,
                num_warps=num_warps(block),
            )
    return routes, inverse


def take_patches(x: Tensor, index: Tensor) -> Tensor:
    """Launch the kernel; see `operators.take_patches`."""
    y = x.new_empty(x.shape)
    if y.numel():
        _, frames, num, channels = x.shape
        rows = index.numel()
        columns = min(COLUMNS, triton.next_power_of_2(channels))
        grid = triton.cdiv(rows, ROWS), triton.cdiv(channels, columns)
        with torch.cuda.device_of(x):
            _take[grid](
                x,
                index.contiguous(),
                y,
                rows,
                frames,
                num,
                channels,
                *x.stride(),
                ROWS=ROWS,
                COLUMNS=columns,
                num_warps=4,
            )
    return y


def num_warps(block: int) -> int:
    """Return the number of warps for the patches of a frame, 1 to 16."""
    return max(1, min(16, block // 64))
