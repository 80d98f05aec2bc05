# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Cosine similarities of frame pairs in one launch."""

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 64  # rows and columns of similarities that a program computes
DEPTH = 32  # channels that it reads at a time
# Three tf32 products on tensor cores have nearly the precision of an fp32
# product. 'ieee' is fp32 arithmetic, without tensor cores.
PRECISION = 'tf32x3'


@triton.jit
def _load(
    x, rows, channels, stride_row, stride_channel, num, CHANNELS: tl.constexpr
):
    """Load features (TILE, DEPTH) as fp32, and zeros beyond the frame."""
    offsets = rows[:, None] * stride_row + channels * stride_channel
    inside = (rows < num)[:, None] & (channels < CHANNELS)
    return tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _power(largest):
    """Return powers of 2 that scale the largest magnitudes to 1..2.

    As :func:`~ata_mm.ops.norms.rescale`: squares of fp32 numbers may exceed
    it.
    """
    exponent = largest.to(tl.int32, bitcast=True) >> 23
    return (tl.maximum(254 - exponent, 1) << 23).to(tl.float32, bitcast=True)


@triton.jit
def _inverse_norm(squares):
    """Return 1 / norm of rows, at most 1e12, as the torch code."""
    return 1.0 / tl.maximum(tl.sqrt(tl.sum(squares, 1)), 1e-12)


@triton.jit
def _cosine(
    source,
    target,
    similarity,
    pairs,
    num,
    source_b,
    source_p,
    source_n,
    source_c,
    target_b,
    target_p,
    target_n,
    target_c,
    CHANNELS: tl.constexpr,
    PRECISION: tl.constexpr,
    TILE: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Compute a tile of the similarities of a frame pair."""
    tiles = tl.cdiv(num, TILE)
    tile = tl.program_id(0) % (tiles * tiles)
    pair = tl.program_id(0) // (tiles * tiles)
    # In int64, after the divisions: elements may exceed 2**31.
    clip, step = (pair // pairs).to(tl.int64), (pair % pairs).to(tl.int64)
    source += clip * source_b + step * source_p
    target += clip * target_b + step * target_p
    rows = (tile // tiles * TILE + tl.arange(0, TILE)).to(tl.int64)
    columns = (tile % tiles * TILE + tl.arange(0, TILE)).to(tl.int64)
    channels = tl.arange(0, DEPTH)
    first_largest = tl.zeros((TILE,), tl.float32)
    second_largest = tl.zeros((TILE,), tl.float32)
    for start in range(0, CHANNELS, DEPTH):
        at = start + channels
        first = _load(source, rows, at, source_n, source_c, num, CHANNELS)
        second = _load(target, columns, at, target_n, target_c, num, CHANNELS)
        first_largest = tl.maximum(first_largest, tl.max(tl.abs(first), 1))
        second_largest = tl.maximum(second_largest, tl.max(tl.abs(second), 1))
    first_power = _power(first_largest)[:, None]
    second_power = _power(second_largest)[:, None]
    product = tl.zeros((TILE, TILE), tl.float32)
    # Summed over channels once, after the loop.
    first_squares = tl.zeros((TILE, DEPTH), tl.float32)
    second_squares = tl.zeros((TILE, DEPTH), tl.float32)
    for start in range(0, CHANNELS, DEPTH):
        at = start + channels
        first = _load(source, rows, at, source_n, source_c, num, CHANNELS)
        second = _load(target, columns, at, target_n, target_c, num, CHANNELS)
        first *= first_power
        second *= second_power
        first_squares += first * first
        second_squares += second * second
        product = tl.dot(
            first, tl.trans(second), product, input_precision=PRECISION
        )
    product *= _inverse_norm(first_squares)[:, None]
    product *= _inverse_norm(second_squares)[None]
    offsets = pair.to(tl.int64) * num * num + rows[:, None] * num + columns
    inside = (rows < num)[:, None] & (columns < num)
    tl.store(similarity + offsets, product, mask=inside)


def pairwise_cosine(source: Tensor, target: Tensor) -> Tensor:
    """Launch the kernel; see `operators.pairwise_cosine`."""
    batch, pairs, num, channels = target.shape
    similarity = target.new_empty(batch, pairs, num, num, dtype=torch.float32)
    if similarity.numel() == 0:
        return similarity
    source = source.expand(target.shape)  # a stride of 0, not a copy
    # Half precision has no more bits than tf32, whose product is then exact.
    half = source.element_size() == target.element_size() == 2
    with torch.cuda.device_of(target):
        _cosine[(batch * pairs * triton.cdiv(num, TILE) ** 2,)](
            source,
            target,
            similarity,
            pairs,
            num,
            *source.stride(),
            *target.stride(),
            CHANNELS=channels,
            PRECISION='tf32' if half else PRECISION,
            TILE=TILE,
            DEPTH=DEPTH,
            num_warps=4,
        )
    return similarity
