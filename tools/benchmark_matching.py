# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Time the alignment of real frames against the paper's literal loop.

``python tools/benchmark_matching.py [VIDEO]`` cuts frames of a video (by
default a rendered one) into 16x16 pixel patches, B x 8 x 196 x 768, and
aligns them in every way in turn, round after round in one process. It prints
medians and the median of the ratios of each round, as a Markdown table.
``--patch 4`` makes large maps of 56 x 56 patches, on which
`CoarseToFineMatcher` is timed against the exact solve, and says how much of
the exact solve's gain in similarity over leaving patches in place it has.
"""
import argparse
import math
import os
from typing import Callable, Dict, Optional, Tuple

import ata_mm  # noqa: F401  must precede what mmaction2 imports
import numpy as np
import torch
from decord import VideoReader
from mmengine.utils import ProgressBar

from ata_mm.apis.launch import user_errors
from ata_mm.apis.timing import paired_times, ratio_table
from ata_mm.datasets import render_clip
from ata_mm.ops import (CoarseToFineMatcher, ExactMatcher, align_frames,
                        neighbour_similarity)
from ata_mm.ops.reference import align_literal


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Time the alignment against the literal loop')
    parser.add_argument('video', nargs='?', help='default: a rendered one')
    parser.add_argument('--batch', type=int, default=2, help='clips (2)')
    parser.add_argument(
        '--interval',
        type=int,
        default=32,
        help='frames of the video from one of a clip to the next (32)')
    parser.add_argument(
        '--patch', type=int, default=16, help='side of a patch in pixels (16)')
    parser.add_argument('--rounds', type=int, default=15, help='rounds (15)')
    parser.add_argument(
        '--threads', type=int, help="threads (default: torch's choice)")
    return parser.parse_args()


def read_clips(video: Optional[str],
               batch: int,
               interval: int,
               num_frames: int = 8,
               side: int = 224) -> torch.Tensor:
    """Clips spread over a video, as floats (B, T, H, W, 3) in -1..1."""
    span = (num_frames - 1) * interval + 1
    if video is None:
        rng = np.random.default_rng(0)
        frames = np.stack([
            render_clip(rng, 0, num_frames, (side, side), (8., 32.))
            for _ in range(batch)
        ])
    else:
        if not os.path.isfile(video):
            raise FileNotFoundError(f'{video} does not exist; expected a '
                                    'video file')
        reader = VideoReader(video, width=side, height=side)
        if len(reader) < span:
            raise ValueError(f'expected at least {span} frames, got '
                             f'{len(reader)} in {video}; use a smaller '
                             '--interval')
        starts = np.linspace(0, len(reader) - span, batch).astype(int)
        index = starts[:, None] + np.arange(num_frames) * interval
        frames = reader.get_batch(index.ravel()).asnumpy()
    clips = torch.from_numpy(frames).float() / 127.5 - 1
    return clips.view(batch, num_frames, side, side, 3)


def patches(clips: torch.Tensor, side: int = 16) -> torch.Tensor:
    """(B, T, H, W, 3) -> pixel patches (B, T, N, side * side * 3)."""
    rows = clips.unflatten(3, (-1, side)).unflatten(2, (-1, side))
    return rows.transpose(3, 4).flatten(4).flatten(2, 3)


def ways_large(x: torch.Tensor) -> Dict[str, Callable[[], None]]:
    """What is timed on maps too large for the literal loop."""
    grid = square(x)
    exact, coarse = ExactMatcher(), CoarseToFineMatcher()
    return {
        'align_frames, exact (lapx)':
        lambda: align_frames(x, exact).align(x),
        'align_frames, CoarseToFineMatcher':
        lambda: align_frames(x, coarse, grid).align(x),
    }


def square(x: torch.Tensor) -> Tuple[int, int]:
    """The grid of the patches of a square picture."""
    side = math.isqrt(x.shape[2])
    return side, side


def kept_gain(x: torch.Tensor) -> float:
    """How much of the exact matching's gain CoarseToFineMatcher has."""
    similarity = neighbour_similarity(x)
    stay = similarity.diagonal(dim1=-2, dim2=-1)
    exact, near = (
        similarity.gather(-1, matching[..., None]).mean() - stay.mean()
        for matching in (ExactMatcher()(similarity),
                         CoarseToFineMatcher().match_frames(x, square(x))))
    return float(near / exact)


def ways(x: torch.Tensor) -> Dict[str, Callable[[], None]]:
    """What is timed, by name; the first is the unit of the ratios."""
    grid = (x.shape[2], 1)
    scipy, one = ExactMatcher('scipy'), ExactMatcher(num_threads=1)
    return {
        'Algorithm 1, literally (scipy)':
        lambda: [align_literal(clip.unflatten(1, grid)) for clip in x],
        'align_frames, scipy':
        lambda: align_frames(x, scipy).align(x),
        'align_frames, lapx, 1 thread':
        lambda: align_frames(x, one).align(x),
        'align_frames, lapx':
        lambda: align_frames(x).align(x),
    }


def main() -> None:
    """Time and print."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with user_errors():
        x = patches(
            read_clips(args.video, args.batch, args.interval), args.patch)
    bar = ProgressBar(args.rounds)
    large = x.shape[2] >= 1024
    timed = ways_large(x) if large else ways(x)
    times = paired_times(timed, args.rounds, bar.update)
    print(f'\n\nB, T, N, C = {tuple(x.shape)}, fp32, '
          f'{torch.get_num_threads()} threads, {args.rounds} rounds\n')
    print(ratio_table(times))
    if large:
        print(f'\nCoarseToFineMatcher has {kept_gain(x):.1%} of the gain.')


if __name__ == '__main__':
    main()
