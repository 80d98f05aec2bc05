# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Time the alignment of real frames against the paper's literal loop.

``python tools/benchmark_matching.py [VIDEO]`` cuts frames of a video (by
default a rendered one) into 16x16 pixel patches, B x 8 x 196 x 768, and
aligns them with every matcher in turn, round after round in one process. It
prints medians and the median of the ratios of each round, as a Markdown table,
with the share that each matcher has of the exact one's gain in similarity over
leaving patches in place. ``--patch 4`` makes large maps of 56 x 56 patches,
without the literal loop and what else would take minutes.

``--plot PATH`` cuts the frames into patches of several sizes instead, draws
the time of a pair of frames against N, and prints it with the exponent of N
that fits. ``--device cuda`` aligns on a GPU. torch-linear-assignment is timed
too where it is installed.
"""
import argparse
import math
from statistics import median
from typing import Callable, Dict, List, Optional, Tuple

import ata_mm  # noqa: F401  must precede what mmaction2 imports

import numpy as np
import torch
import torch.nn.functional as F
from decord import DECORDError, VideoReader
from matplotlib.figure import Figure
from mmengine.utils import ProgressBar

from ata_mm.apis.device import use_device
from ata_mm.cli.launch import user_errors
from ata_mm.cli.timing import fit_exponent, paired_times, ratio_table
from ata_mm.datasets import render_clip
from ata_mm.ops import (
    CoarseToFineMatcher,
    DisplacementMatcher,
    ExactMatcher,
    LocalMatcher,
    SinkhornMatcher,
    align_frames,
)
from ata_mm.ops.matching.base import Matcher
from ata_mm.ops.reference import align_literal
from ata_mm.video.files import check_video_file, undecodable

try:
    from torch_linear_assignment import batch_linear_assignment
except ImportError:
    batch_linear_assignment = None

SIDES = (56, 32, 28, 16, 14, 8, 7)  # 16 to 1024 patches
LARGE = 1025  # patches, from which on only the fast ones are timed
LITERAL = 'Algorithm 1, literally (scipy)'


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
    parser.add_argument(
        '--device', choices=['cpu', 'cuda'], default='cpu', help='(cpu)')
    parser.add_argument(
        '--plot', metavar='PATH', help='picture of the time against N')
    parser.add_argument(
        '--sides',
        nargs='+',
        type=int,
        default=SIDES,
        help='sides of patches for --plot, in pixels '
        f'({" ".join(map(str, SIDES))})')
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
        check_video_file(video)
        try:
            reader = VideoReader(video, width=side, height=side)
        except (RuntimeError, DECORDError) as error:
            raise undecodable(video) from error
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
    if clips.shape[2] % side or clips.shape[3] % side:
        raise ValueError(f'expected a side of patches that divides '
                         f'{clips.shape[2]}, got {side}')
    rows = clips.unflatten(3, (-1, side)).unflatten(2, (-1, side))
    return rows.transpose(3, 4).flatten(4).flatten(2, 3)


def square(x: torch.Tensor) -> Tuple[int, int]:
    """The grid of the patches of a square picture."""
    side = math.isqrt(x.shape[2])
    return side, side


def match_peer(similarity: torch.Tensor) -> torch.Tensor:
    """torch-linear-assignment as a matcher: scipy on the CPU, or a GPU."""
    matching = batch_linear_assignment(-similarity.flatten(0, -3))
    return matching.view(similarity.shape[:-1])


def matchers(num_patches: int, device: torch.device) -> Dict[str, Matcher]:
    """What is timed, by name."""
    chosen = {'ExactMatcher, lapx': ExactMatcher('lapx')}
    if num_patches < LARGE:
        chosen['ExactMatcher, lapx, 1 thread'] = ExactMatcher(
            'lapx', num_threads=1)
        chosen['ExactMatcher, scipy'] = ExactMatcher('scipy')
        chosen['SinkhornMatcher'] = SinkhornMatcher()
        if batch_linear_assignment is not None:
            chosen['torch-linear-assignment'] = match_peer
        if device.type == 'cuda':
            chosen['ExactMatcher, triton'] = ExactMatcher('triton')
    chosen['CoarseToFineMatcher'] = CoarseToFineMatcher()
    chosen['LocalMatcher'] = LocalMatcher()
    chosen['DisplacementMatcher'] = DisplacementMatcher()
    return chosen


def ways(x: torch.Tensor) -> Dict[str, Callable[[], None]]:
    """What is timed, by name; the first is the unit of the ratios."""
    grid = square(x)
    timed = {}
    if x.shape[2] < LARGE:
        timed[LITERAL] = lambda: [
            align_literal(c.unflatten(1, grid)) for c in x
        ]
    for name, matcher in matchers(x.shape[2], x.device).items():
        timed[name] = (
            lambda matcher=matcher: align_frames(x, matcher, grid).align(x))
    return timed


def gains(x: torch.Tensor) -> Dict[str, str]:
    """How much of the exact matching's gain in similarity each way has."""
    pairs = torch.stack([x[:, :-1], x[:, 1:]], 2).flatten(0, 1)
    stay = F.cosine_similarity(pairs[:, 0], pairs[:, 1], dim=-1).mean()
    gain = {
        name:
        align_frames(pairs, matcher, square(x)).similarity(pairs).mean() - stay
        for name, matcher in matchers(x.shape[2], x.device).items()
    }
    best = gain['ExactMatcher, lapx']
    shares = {
        name: f'{own / best:.3f}' if best > 0 else '–'  # nothing moves
        for name, own in gain.items()
    }
    return {LITERAL: '1', **shares}


def times_by_size(clips: torch.Tensor, sides: List[int],
                  rounds: int) -> Dict[str, Dict[int, float]]:
    """Medians in ms of one pair of frames, by name and number of patches."""
    bar = ProgressBar(rounds * len(sides))
    medians: Dict[str, Dict[int, float]] = {}
    for side in sides:
        x = patches(clips, side)
        pairs = x.shape[0] * (x.shape[1] - 1)
        for name, own in paired_times(ways(x), rounds, bar.update).items():
            medians.setdefault(name,
                               {})[x.shape[2]] = (1e3 * median(own) / pairs)
    return medians


def size_table(medians: Dict[str, Dict[int, float]]) -> str:
    """The medians in Markdown, and the exponents that fit the larger half."""
    sizes = sorted(next(iter(medians.values())))
    heads = ['ms a pair, N =', *map(str, sizes), 'grows as']
    rows = [heads, ['---'] * len(heads)]
    for name, own in medians.items():
        rows.append([name] + [f'{own[size]:.2f}' for size in sizes] +
                    [f'N^{larger_half_exponent(own):.1f}'])
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


def larger_half_exponent(times: Dict[int, float]) -> float:
    """Of the smaller sizes, much of the time is not that of the solver."""
    sizes = sorted(times)[-(len(times) + 1) // 2:]
    return fit_exponent(sizes, [times[size] for size in sizes])


def draw(medians: Dict[str, Dict[int, float]], title: str, path: str) -> None:
    """Save time against N with logarithmic axes."""
    figure = Figure(figsize=(8, 5), layout='constrained')
    axes = figure.subplots()
    for name, own in medians.items():
        sizes = sorted(own)
        axes.plot(
            sizes, [own[size] for size in sizes],
            marker='o',
            label=f'{name}: $N^{{{larger_half_exponent(own):.1f}}}$')
    axes.set(
        xscale='log',
        yscale='log',
        xlabel='patches a frame, N',
        ylabel='ms a pair of frames',
        title=title)
    axes.set_xticks(sizes, labels=map(str, sizes))
    axes.minorticks_off()
    axes.grid(alpha=.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Time and print."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with user_errors():
        device = use_device(args.device)
        clips = read_clips(args.video, args.batch, args.interval).to(device)
        x = patches(clips, args.patch)
    setting = (f'fp32 on {args.device}, {torch.get_num_threads()} threads, '
               f'{args.rounds} rounds')
    if args.plot:
        with user_errors():
            medians = times_by_size(clips, args.sides, args.rounds)
        print(f'\n\n{setting}\n\n{size_table(medians)}')
        draw(medians, setting, args.plot)
        return
    bar = ProgressBar(args.rounds)
    times = paired_times(ways(x), args.rounds, bar.update)
    print(f'\n\nB, T, N, C = {tuple(x.shape)}, {setting}\n')
    print(ratio_table(times, {'gain': gains(x)}))


if __name__ == '__main__':
    main()
