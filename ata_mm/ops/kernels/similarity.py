# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Cosine similarities of frame pairs on tensor cores, as precise as in fp32.

1. `_split` scales the features of a patch by a power of two, which rounds
   nothing and keeps squares within fp32, and writes each number as a sum of
   two in fp16, whose products tensor cores add up in fp32: to 2**-23 of the
   number. It also finds the norms. Each frame is split once, not once for
   each pair.
2. `_cosine` adds up the three largest of the four products of such sums; the
   fourth is at most 2**-22 of the first. Features in half precision are one
   number in fp16, except for those below 2**-28 of the largest of a patch.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

DEPTH = 64  # channels that a program multiplies at a time, at most
MAX_PATCHES = 46340  # whose N x N similarities int32 can count
ELEMENTS = 4096  # numbers that a program splits, at least one patch


@triton.jit
def _split(
    x,
    parts,
    scales,
    rows,
    frames,
    num,
    stride_b,
    stride_t,
    stride_n,
    stride_c,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    PARTS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write parts (rows, PARTS, WIDTH), and 1 / norm of the scaled rows."""
    # In int64: elements may exceed 2**31.
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)
    start = row // num // frames * stride_b
    start += row // num % frames * stride_t + row % num * stride_n
    inside = (row < rows)[:, None] & (column < CHANNELS)
    offsets = start[:, None] + column.to(tl.int64) * stride_c
    values = tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32)

    # The largest magnitude is scaled to 2**14..2**15, in the range of fp16.
    # The power is at most 2**127, for denormal numbers and zeros.
    largest = tl.max(tl.abs(values), 1).to(tl.int32, bitcast=True)
    exponent = tl.minimum(tl.maximum(268 - (largest >> 23), 1), 254)
    values *= (exponent << 23).to(tl.float32, bitcast=True)[:, None]
    norm = tl.maximum(tl.sqrt(tl.sum(values * values, 1)), 1e-12)
    tl.store(scales + row, 1.0 / norm, mask=row < rows)

    inside = (row < rows)[:, None] & (column < WIDTH)  # zeros to the end
    offsets = row[:, None] * (PARTS * WIDTH) + column
    high = values.to(tl.float16)
    tl.store(parts + offsets, high, mask=inside)
    if PARTS == 2:
        low = (values - high.to(tl.float32)).to(tl.float16)
        tl.store(parts + offsets + WIDTH, low, mask=inside)


@triton.jit
def _cosine(
    source,
    target,
    source_scales,
    target_scales,
    similarity,
    pairs,
    num,
    source_b,
    source_p,
    target_b,
    WIDTH: tl.constexpr,
    PARTS: tl.constexpr,
    TILE: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """Compute a tile of the similarities of a frame pair.

    Strides are in patches.
    """
    tiles = tl.cdiv(num, TILE)
    tile = tl.program_id(0) % (tiles * tiles)
    pair = tl.program_id(0) // (tiles * tiles)
    # In int64, after the divisions: elements may exceed 2**31.
    clip, step = (pair // pairs).to(tl.int64), (pair % pairs).to(tl.int64)
    row = tile // tiles * TILE + tl.arange(0, TILE)
    column = tile % tiles * TILE + tl.arange(0, TILE)
    # Beyond the frame, the last patch once more: loads need no mask.
    last = num - 1
    first = clip * source_b + step * source_p + tl.minimum(row, last)
    second = clip * target_b + step * num + tl.minimum(column, last)
    channel = tl.arange(0, DEPTH)
    source += first[:, None] * (PARTS * WIDTH) + channel
    target += second[None] * (PARTS * WIDTH) + channel[:, None]
    product = tl.zeros((TILE, TILE), tl.float32)
    for start in range(0, WIDTH, DEPTH):
        high = tl.load(source + start)
        other = tl.load(target + start)
        # Tensor cores truncate where they add: few numbers at a time.
        some = tl.zeros((TILE, TILE), tl.float32)
        if PARTS == 2:
            low = tl.load(source + start + WIDTH)
            some = tl.dot(low, other, some)
            low = tl.load(target + start + WIDTH)
            some = tl.dot(high, low, some)
        product += tl.dot(high, other, some)
    product *= tl.load(source_scales + first)[:, None]
    product *= tl.load(target_scales + second)[None]
    similarity += pair.to(tl.int64) * num * num
    offsets = row[:, None] * num + column  # below 2**31, see MAX_PATCHES
    inside = (row < num)[:, None] & (column < num)
    tl.store(similarity + offsets, product, mask=inside)


def _split_frames(x: Tensor, parts: int) -> tuple[Tensor, Tensor]:
    """Return the parts (B, T, N, parts, W) and 1 / norms (B, T, N)."""
    batch, frames, num, channels = x.shape
    width = triton.cdiv(channels, DEPTH) * DEPTH
    columns = triton.next_power_of_2(width)
    rows = max(1, ELEMENTS // columns)
    split = x.new_empty(batch, frames, num, parts, width, dtype=torch.float16)
    scales = x.new_empty(batch, frames, num, dtype=torch.float32)
    _split[(triton.cdiv(scales.numel(), rows),)](
        x,
        split,
        scales,
        scales.numel(),
        frames,
        num,
        *x.stride(),
        CHANNELS=channels,
        WIDTH=width,
        PARTS=parts,
        ROWS=rows,
        COLUMNS=columns,
        num_warps=4,
    )
    return split, scales


def _are_neighbours(source: Tensor, target: Tensor) -> bool:
    """Return whether they are the frames 0..P-1 and 1..P of one clip."""
    return (
        source.stride() == target.stride()
        and source.shape == target.shape
        and source.dtype == target.dtype
        and source.untyped_storage().data_ptr()
        == target.untyped_storage().data_ptr()
        and source.storage_offset() + source.stride(1)
        == target.storage_offset()
    )


def depth(device: torch.device) -> int:
    """Return the channels that a program multiplies at a time."""
    # DEPTH is faster where it was measured, on an H200, and needs more shared
    # memory than other GPUs have.
    hopper = device.type == 'cuda' and (
        torch.cuda.get_device_capability(device) == (9, 0)
    )
    return DEPTH if hopper else DEPTH // 2


def tile_size(num: int) -> int:
    """Return the rows and columns of similarities that a program computes."""
    return 64 if num <= 64 else 128


def pairwise_cosine(source: Tensor, target: Tensor) -> Tensor:
    """Launch the kernels; see `operators.pairwise_cosine`."""
    batch, pairs, num, _ = target.shape
    similarity = target.new_empty(batch, pairs, num, num, dtype=torch.float32)
    if similarity.numel() == 0:
        return similarity
    if num > MAX_PATCHES:
        raise ValueError(
            f'Expected at most {MAX_PATCHES} patches, got N = {num}, whose '
            'similarities take more than 8 GB a frame pair. Use a '
            'CoarseToFineMatcher.'
        )
    half = source.element_size() == target.element_size() == 2
    parts = 1 if half else 2
    tile = tile_size(num)
    with torch.cuda.device_of(target):
        if _are_neighbours(source, target):
            size = batch, pairs + 1, *target.shape[2:]
            clip = source.as_strided(size, source.stride())
            split, scales = _split_frames(clip, parts)
            first, first_scales = split[:, :-1], scales[:, :-1]
            second, second_scales = split[:, 1:], scales[:, 1:]
        else:
            first, first_scales = _split_frames(source, parts)
            second, second_scales = _split_frames(target, parts)
        _cosine[(batch * pairs * triton.cdiv(num, tile) ** 2,)](
            first,
            second,
            first_scales,
            second_scales,
            similarity,
            pairs,
            num,
            first_scales.stride(0),
            num if source.shape[1] == pairs else 0,
            second_scales.stride(0),
            WIDTH=first.shape[-1],
            PARTS=parts,
            TILE=tile,
            DEPTH=depth(target.device),
            num_warps=tile // 16,
            num_stages=3,
        )
    return similarity
