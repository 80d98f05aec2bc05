# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Time the alignment of real frames against the paper's literal loop.

``python tools/benchmark_matching.py [VIDEO]`` cuts frames of a video (by
default a rendered one) into 16x16 pixel patches, B x 8 x 196 x 768, and
aligns them with every matcher in turn, round after round in one process. It
prints medians, and the medians of the ratios within each round, as a Markdown
table, with each matcher's gain in similarity over the unaligned frames as a
share of the exact matcher's gain. ``--patch 4`` makes large maps of 56 x 56
patches, without the literal loop and other matchers that would take minutes.

``--options`` times the options of the alignment instead, each with the
automatic matcher, against the paper's form.

``--steps`` counts the steps of the GPU kernel instead, its serial work: rows
scanned by row reduction, and steps of the searches. Without a GPU, Triton's
interpreter counts them, in minutes: ``TRITON_INTERPRET=1 python
tools/benchmark_matching.py --steps``.

``--plot PATH`` cuts the frames into patches of several sizes instead, plots
the time of a frame pair against N, and prints it with the fitted exponent of
N. ``--device cuda`` aligns on a GPU. torch-linear-assignment is timed too if
it is installed.
"""

import argparse
import math
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

from ata_mm.cli.arguments import (
    add_timing_options,
    make_folder_of,
    positive,
)

SIDES = (56, 32, 28, 16, 14, 8, 7)  # of patches in pixels: N = 16 to 1024


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Time the alignment against the literal loop'
    )
    parser.add_argument('video', nargs='?', help='default: a rendered one')
    parser.add_argument('--batch', type=positive, default=2, help='clips (2)')
    parser.add_argument(
        '--num-frames', type=positive, default=8, help='frames of a clip (8)'
    )
    parser.add_argument(
        '--interval',
        type=positive,
        default=32,
        help='distance of neighbouring frames of a clip in the video (32)',
    )
    parser.add_argument(
        '--patch',
        type=positive,
        default=16,
        help='side of a patch in pixels (16)',
    )
    add_timing_options(parser, rounds=15)
    parser.add_argument(
        '--device', choices=['cpu', 'cuda'], default='cpu', help='(cpu)'
    )
    parser.add_argument(
        '--options',
        action='store_true',
        help='time the options of the alignment instead of the matchers',
    )
    parser.add_argument(
        '--steps',
        action='store_true',
        help="count the GPU kernel's steps instead of timing",
    )
    parser.add_argument(
        '--plot', metavar='PATH', help='plot the time against N to this file'
    )
    parser.add_argument(
        '--sides',
        nargs='+',
        type=positive,
        default=SIDES,
        help='sides of patches for --plot, in pixels '
        f'({" ".join(map(str, SIDES))})',
    )
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from ata_mm.apis.config import use_device
from ata_mm.cli.console import round_progress
from ata_mm.cli.errors import user_errors
from ata_mm.cli.tables import markdown_table
from ata_mm.cli.timing import fit_exponent, paired_times, ratio_table
from ata_mm.datasets import render_clip
from ata_mm.ops import (
    CoarseToFineMatcher,
    DisplacementMatcher,
    ExactMatcher,
    LocalMatcher,
    Matcher,
    SinkhornMatcher,
    align_frames,
)
from ata_mm.ops.matching import as_matcher
from ata_mm.ops.matching.similarity import neighbour_similarity
from ata_mm.ops.reference import align_literal
from ata_mm.ops.types import Grid
from ata_mm.video import open_video, patchify
from ata_mm.visualization.canvas import check_figure_file, save_figure

try:
    from torch_linear_assignment import batch_linear_assignment
except ImportError:
    batch_linear_assignment = None
LARGE = 1025  # least N for which only the fast matchers are timed
LITERAL = 'Algorithm 1, literally (scipy)'
FALL_BACK = dict(reference='first-or-previous', min_similarity=0.4)
OPTIONS: list[dict[str, Any]] = [
    {},
    dict(reference='first'),
    dict(refine=1),
    dict(min_similarity=0.4),
    dict(support_radius=1),
    dict(support_radius=2),
    dict(reference='first', support_radius=1, min_similarity=0.4),
    dict(support_radius=1, **FALL_BACK),
]


def read_clips(
    video: str | None,
    batch: int,
    interval: int,
    num_frames: int = 8,
    side: int = 224,
) -> Tensor:
    """Read clips spread over a video, or render some.

    Args:
        video (str, optional): The video file; None for rendered clips.
        batch (int): Number of clips B.
        interval (int): Distance of neighbouring frames in the video.
        num_frames (int): Frames T of a clip. Defaults to 8.
        side (int): Height and width in pixels. Defaults to 224.

    Returns:
        Tensor: (B, T, side, side, 3), from -1 to 1.

    Raises:
        FileNotFoundError, ValueError: If the file is missing, not a video, or
            too short.
    """
    if video is None:
        rng = np.random.default_rng(0)
        frames = np.stack(
            [
                render_clip(rng, 0, num_frames, (side, side), (8.0, 32.0))
                for _ in range(batch)
            ]
        )
    else:
        span = (num_frames - 1) * interval + 1
        with open_video(video) as reader:
            if len(reader) < span:
                raise ValueError(
                    f'Expected at least {span} frames, got '
                    f'{len(reader)} in {video}. Use a smaller '
                    '--interval.'
                )
            starts = np.linspace(0, len(reader) - span, batch).astype(int)
            index = starts[:, None] + np.arange(num_frames) * interval
            frames = np.stack(
                [
                    cv2.resize(frame, (side, side))
                    for frame in reader.frames(index.ravel())
                ]
            )
    clips = torch.from_numpy(frames).float() / 127.5 - 1
    return clips.view(batch, num_frames, side, side, 3)


def square(x: Tensor) -> Grid:
    """Return the grid of square frames from their patches (B, T, N, C)."""
    side = math.isqrt(x.shape[2])
    return side, side


def match_peer(similarity: Tensor, grid: Grid | None = None) -> Tensor:
    """Match with torch-linear-assignment: scipy on the CPU, or a GPU kernel.

    Args:
        similarity (Tensor): (..., N, N).
        grid (tuple[int, int], optional): Not used. Defaults to None.

    Returns:
        Tensor: Permutations (..., N).
    """
    matching = batch_linear_assignment(-similarity.flatten(0, -3))
    return matching.view(similarity.shape[:-1])


def matchers(num_patches: int, device: torch.device) -> dict[str, Matcher]:
    """Return the matchers to time, by name."""
    chosen: dict[str, Matcher] = {'ExactMatcher, lapx': ExactMatcher('lapx')}
    if num_patches < LARGE:
        chosen['ExactMatcher, lapx, 1 thread'] = ExactMatcher(
            'lapx', num_threads=1
        )
        chosen['ExactMatcher, scipy'] = ExactMatcher('scipy')
        chosen['SinkhornMatcher'] = SinkhornMatcher()
        if batch_linear_assignment is not None:
            chosen['torch-linear-assignment'] = as_matcher(match_peer)
        if device.type == 'cuda':
            chosen['ExactMatcher, triton'] = ExactMatcher('triton')
    chosen['CoarseToFineMatcher'] = CoarseToFineMatcher()
    chosen['LocalMatcher'] = LocalMatcher()
    chosen['DisplacementMatcher'] = DisplacementMatcher()
    return chosen


def align(
    x: Tensor, matcher: Matcher | str = 'auto', **options: Any
) -> Tensor:
    """Match, and reorder the patches."""
    return align_frames(x, matcher, square(x), **options).align(x)


def align_clips_literally(x: Tensor) -> None:
    """Align one clip after the other with the loop of the paper."""
    for clip in x:
        align_literal(clip.unflatten(1, square(x)))


def timed_functions(x: Tensor) -> dict[str, Callable[[], object]]:
    """Return the functions to time by name, the unit of the ratios first."""
    functions: dict[str, Callable[[], object]] = {}
    if x.shape[2] < LARGE:
        functions[LITERAL] = partial(align_clips_literally, x)
    for name, matcher in matchers(x.shape[2], x.device).items():
        functions[name] = partial(align, x, matcher)
    return functions


def timed_options(x: Tensor) -> dict[str, Callable[[], object]]:
    """Return the alignments to time by their options, the default first."""
    return {
        ', '.join(f'{k}={v!r}' for k, v in options.items()) or 'default': (
            partial(align, x, **options)
        )
        for options in OPTIONS
    }


def gains(x: Tensor) -> dict[str, str]:
    """Compare the gains in similarity with that of the exact matching.

    Args:
        x (Tensor): Patches (B, T, N, C).

    Returns:
        dict[str, str]: Share of each matcher by name.
    """
    pairs = torch.stack([x[:, :-1], x[:, 1:]], 2).flatten(0, 1)
    unaligned = F.cosine_similarity(pairs[:, 0], pairs[:, 1], dim=-1).mean()
    gain = {
        name: align_frames(pairs, matcher, square(x)).similarity(pairs).mean()
        - unaligned
        for name, matcher in matchers(x.shape[2], x.device).items()
    }
    best = gain['ExactMatcher, lapx']
    shares = {
        name: f'{own / best:.3f}' if best > 0 else '–'  # a still video
        for name, own in gain.items()
    }
    return {LITERAL: '1', **shares}


def step_table(x: Tensor) -> str:
    """Count the steps of the assignment kernel, in Markdown.

    Args:
        x (Tensor): Patches (B, T, N, C).

    Returns:
        str: Mean and largest number over all neighbouring frames.

    Raises:
        ValueError: If Triton is not installed, or x is on the CPU and Triton
            does not interpret.
    """
    try:
        from ata_mm.ops.lap.triton import solve_triton
    except ImportError as error:
        raise ValueError(f'Expected Triton for --steps: {error}.') from error
    problems = neighbour_similarity(x).flatten(0, -3)
    steps = problems.new_zeros((len(problems), 2), dtype=torch.int32)
    solve_triton(problems, steps)
    rows = [
        [name, f'{own.float().mean():.0f}', int(own.max())]
        for name, own in zip(('row reduction', 'searches'), steps.T)
    ]
    return markdown_table(['steps a problem', 'mean', 'slowest'], rows)


def times_by_size(
    clips: Tensor, sides: list[int], rounds: int
) -> dict[str, dict[int, float]]:
    """Time patches of several sizes.

    Args:
        clips (Tensor): (B, T, H, W, 3).
        sides (list[int]): Sides of the patches in pixels.
        rounds (int): Number of measured rounds of each size.

    Returns:
        dict[str, dict[int, float]]: Medians in ms of one frame pair, by name
        and number of patches N.
    """
    medians: dict[str, dict[int, float]] = {}
    with round_progress(rounds * len(sides)) as advance:
        for side in sides:
            x = patchify(clips, side)
            pairs = x.shape[0] * (x.shape[1] - 1)
            times = paired_times(timed_functions(x), rounds, advance)
            for name, seconds in times.items():
                own = medians.setdefault(name, {})
                own[x.shape[2]] = 1e3 * median(seconds) / pairs
    return medians


def size_table(medians: Mapping[str, Mapping[int, float]]) -> str:
    """Format medians by size, with the exponents of N, in Markdown."""
    sizes = sorted(next(iter(medians.values())))
    rows = [
        [
            name,
            *(f'{own[size]:.2f}' for size in sizes),
            f'N^{larger_half_exponent(own):.1f}',
        ]
        for name, own in medians.items()
    ]
    return markdown_table(
        ['ms a pair, N =', *map(str, sizes), 'grows as'], rows
    )


def larger_half_exponent(times: Mapping[int, float]) -> float:
    """Fit the exponent of N to the larger half of the sizes.

    For the smaller ones, overheads take much of the time.
    """
    sizes = sorted(times)[-(len(times) + 1) // 2 :]
    return fit_exponent(sizes, [times[size] for size in sizes])


def draw(
    medians: Mapping[str, Mapping[int, float]], title: str, path: str
) -> None:
    """Plot time against N with logarithmic axes to a file."""
    figure = Figure(figsize=(8, 5), layout='constrained')
    axes = figure.subplots()
    for name, own in medians.items():
        sizes = sorted(own)
        axes.plot(
            sizes,
            [own[size] for size in sizes],
            marker='o',
            label=f'{name}: $N^{{{larger_half_exponent(own):.1f}}}$',
        )
    axes.set(
        xscale='log',
        yscale='log',
        xlabel='patches per frame, N',
        ylabel='ms per frame pair',
        title=title,
    )
    sizes = sorted(next(iter(medians.values())))
    axes.set_xticks(sizes, labels=list(map(str, sizes)))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path, dpi=150)


def main() -> None:
    """Print the table of one size, or with --plot of several."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with user_errors():
        make_folder_of(args.plot, '--plot')
        check_figure_file(args.plot or '')
        device = use_device(args.device)
        clips = read_clips(
            args.video, args.batch, args.interval, args.num_frames
        ).to(device)
        x = patchify(clips, args.patch)
    setting = (
        f'fp32 on {args.device}, {torch.get_num_threads()} threads, '
        f'{args.rounds} rounds'
    )
    if args.plot:
        with user_errors():
            medians = times_by_size(clips, args.sides, args.rounds)
        print(f'{setting}\n\n{size_table(medians)}')
        with user_errors():
            draw(medians, setting, args.plot)
        return
    print(f'B, T, N, C = {tuple(x.shape)}, {setting}\n')
    if args.steps:
        with user_errors():
            print(step_table(x))
        return
    functions = timed_options(x) if args.options else timed_functions(x)
    with round_progress(args.rounds) as advance:
        times = paired_times(functions, args.rounds, advance)
    columns = {} if args.options else {'gain': gains(x)}
    print(ratio_table(times, columns))


if __name__ == '__main__':
    main()
