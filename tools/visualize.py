# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Visualize the routes of patches and the responses of models.

``python tools/visualize.py VIDEO …`` matches the gradients of the frames,
without a model. With ``--config`` and ``--checkpoint`` of one or more models,
it shows a forward pass: the routes of ATA, the matching of a frame pair, and
the responses of all models side by side. The files of a video are written to a
folder of its name; open ``routes.html`` in a browser. The exit status is 1 if
a video failed.
"""

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ata_mm.cli.arguments import (
    add_cfg_options,
    add_device_option,
    add_time_limit,
    make_folder,
)
from ata_mm.cli.demo import parse_with_demo, print_demo


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Visualize routes of patches and responses of models'
    )
    parser.add_argument(
        'videos', nargs='+', metavar='VIDEO', help='files, folders, patterns'
    )
    parser.add_argument(
        '--config', nargs='+', default=[], help='the config of each model'
    )
    parser.add_argument(
        '--checkpoint',
        nargs='+',
        default=[],
        help='the weights of each model (default: random ones)',
    )
    parser.add_argument(
        '--out-dir',
        default='visualizations',
        help='folder of the results (default: visualizations)',
    )
    parser.add_argument(
        '--patches',
        nargs='+',
        type=_patch,
        metavar='ROW,COLUMN',
        help='patches of the first frame to follow, from 0,0 at the top left '
        '(default: five that move)',
    )
    parser.add_argument(
        '--block',
        type=int,
        help='index of the temporal module to show (default: for routes, the '
        'first that aligns; for class activation, the last)',
    )
    parser.add_argument(
        '--pair',
        type=int,
        help='index of the frame pair whose matching is shown (default: the '
        'one in which most patches move)',
    )
    parser.add_argument(
        '--cam',
        action='store_true',
        help='show the class activation of the predicted class (Grad-CAM)',
    )
    parser.add_argument(
        '--view',
        type=int,
        help='index of the view of the test pipeline (default: the middle '
        'one)',
    )
    parser.add_argument(
        '--num-frames',
        type=int,
        default=8,
        help='number of frames, without a config (default: 8)',
    )
    parser.add_argument(
        '--interval',
        type=int,
        help='distance of neighbouring frames in the video, without a config '
        '(default: a quarter of a second)',
    )
    parser.add_argument(
        '--rows',
        type=int,
        default=14,
        help='patches on the short side, without a config (default: 14)',
    )
    parser.add_argument(
        '--reference',
        type=_reference,
        default=8,
        metavar='previous|first|first-or-previous|K',
        help='the frame that each frame is matched to, without a config: the '
        'previous one, the first one, the first one and where that is '
        'rejected the previous one, or the last of 0, K, 2K, … before it '
        '(default: 8)',
    )
    parser.add_argument(
        '--refine',
        type=int,
        default=0,
        help='number of refinements of the routes, without a config (default: '
        '0)',
    )
    parser.add_argument(
        '--min-similarity',
        type=float,
        default=0.4,
        help='reject matches up to this similarity, without a config; -1 for '
        'none (default: 0.4)',
    )
    parser.add_argument(
        '--support-radius',
        type=int,
        default=2,
        help='compare patches together with their neighbours up to this '
        'distance, without a config (default: 2)',
    )
    parser.add_argument(
        '--fps',
        type=float,
        default=2.0,
        help='frames per second of the mp4 files (default: 2)',
    )
    parser.add_argument(
        '--quality',
        type=int,
        default=80,
        help='JPEG quality of the frames in the page (default: 80)',
    )
    add_device_option(parser)
    add_time_limit(parser)
    add_cfg_options(parser)
    return parse_with_demo(parser)


def _patch(text: str) -> tuple[int, int]:
    """Parse the row and column of a patch."""
    try:
        row, column = map(int, text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'expected ROW,COLUMN such as 3,5, got {text!r}'
        ) from None
    return row, column


def _reference(text: str) -> str | int:
    """Parse the reference of an alignment."""
    names = ('previous', 'first', 'first-or-previous')
    if text in names:
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'expected {", ".join(names)} or a number, got {text!r}'
        ) from None


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import numpy as np
from mmaction.apis import init_recognizer
from mmengine.config import Config
from mmengine.device import get_device
from torch import nn

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.apis.config import read_video_files, use_device
from ata_mm.apis.recognizer import class_names
from ata_mm.cli.console import (
    escape_names,
    hide_log,
    print_error,
    print_message,
    print_result,
    print_summary,
    stderr_progress,
)
from ata_mm.cli.errors import is_user_error, one_line, user_errors
from ata_mm.cli.outputs import unique_stems
from ata_mm.introspection import Block, Observation, match_pixels, observe
from ata_mm.models import ATA
from ata_mm.ops.align import check_options as check_alignment_options
from ata_mm.ops.types import Grid
from ata_mm.video import (
    Clip,
    View,
    Workers,
    find_videos,
    read_clip,
    read_view,
)
from ata_mm.video.isolation import Outcome
from ata_mm.visualization import class_activation
from ata_mm.visualization.files import write_heat_maps, write_routes


class Model(NamedTuple):
    """A recognizer and its name in the figures.

    Args:
        name (str): Unique name.
        cfg (Config): The config.
        recognizer (nn.Module): The recognizer of MMAction2.
        classes (list[str]): Names of the classes.
    """

    name: str
    cfg: Config
    recognizer: nn.Module
    classes: list[str]


def check_options(args: argparse.Namespace) -> None:
    """Validate the options before any work.

    Raises:
        ValueError: If an option is invalid.
    """
    minima = [
        ('--num-frames', args.num_frames, 2),
        ('--rows', args.rows, 1),
        ('--interval', args.interval, 1),
        ('--fps', args.fps, 1),
    ]
    for option, value, least in minima:
        if value is not None and value < least:
            raise ValueError(
                f'Expected {option} of at least {least}, got {value}.'
            )
    if not 1 <= args.quality <= 100:
        raise ValueError(f'Expected --quality in 1..100, got {args.quality}.')
    check_alignment_options(
        args.reference, args.refine, args.min_similarity, args.support_radius
    )
    if args.checkpoint and len(args.checkpoint) != len(args.config):
        raise ValueError(
            f'Expected a checkpoint for each of the {len(args.config)} '
            f'configs, got {len(args.checkpoint)}.'
        )
    if not args.config and (args.cam or args.block is not None):
        raise ValueError(
            'Expected --config and --checkpoint, because --cam '
            'and --block need a model.'
        )


def out_folders(videos: list[str], out_dir: str) -> dict[str, Path]:
    """Return a folder of its own for the files of each video."""
    names = unique_stems(videos)
    return {video: Path(out_dir, name) for video, name in names.items()}


def load_models(args: argparse.Namespace) -> list[Model]:
    """Build the models of the command line.

    Raises:
        ValueError: If no model has ATA.
    """
    models = [load_model(args, i) for i in range(len(args.config))]
    if models and not any(has_ata(model) for model in models):
        raise ValueError(
            'Expected a model with routes, but there is no temporal module of '
            f'type ATA in {", ".join(m.name for m in models)}. Add a config '
            "with temporal=dict(type='ATA')."
        )
    return models


def load_model(args: argparse.Namespace, index: int) -> Model:
    """Build the model of an index, under a unique name."""
    path = args.config[index]
    cfg, name = load_config(path, args.cfg_options), Path(path).stem
    read_video_files(cfg)
    if [Path(other).stem for other in args.config].count(name) > 1:
        name += f'_{index}'
    if args.checkpoint:
        loaded = VideoRecognizer(cfg, args.checkpoint[index], args.device)
        return Model(name, cfg, loaded.model, loaded.classes)
    print_message(
        f'warning: no --checkpoint: the weights of {name} are random'
    )
    device = str(use_device(args.device or get_device()))
    recognizer = init_recognizer(cfg, device=device)
    return Model(f'{name}_untrained', cfg, recognizer, class_names(cfg, {}))


def has_ata(model: Model) -> bool:
    """Return whether a model has a module that aligns."""
    return any(isinstance(m, ATA) for m in model.recognizer.modules())


def read(
    video: str, models: list[Model], args: argparse.Namespace
) -> tuple[Clip, Grid] | dict[str, View]:
    """Read what the figures of a video show, for each model if any."""
    if models:
        return {m.name: read_view(video, m.cfg, args.view) for m in models}
    return read_clip(video, args.num_frames, args.interval, args.rows)


def visualize(
    sample: Outcome,
    folder: Path,
    models: list[Model],
    args: argparse.Namespace,
) -> list[Path]:
    """Write all figures of a video and return their files."""
    write_all = partial(
        write_routes,
        patches=args.patches,
        pair=args.pair,
        fps=args.fps,
        quality=args.quality,
        video=Path(sample.item).name,
    )
    if not models:
        clip, grid = sample.get()
        block = match_pixels(
            clip,
            grid,
            args.reference,
            args.refine,
            args.min_similarity,
            args.support_radius,
        )
        return write_all(folder, clip, [block], block, model='no model')
    clips = sample.get()
    check_same_frames(clips)
    seen = {
        m.name: observe(m.recognizer, clips[m.name].inputs) for m in models
    }
    files = []
    for name in [m.name for m in models if has_ata(m)]:
        blocks = [b for b in seen[name].blocks if b.alignment is not None]
        files += write_all(
            folder if len(models) == 1 else folder / name,
            clips[name],
            blocks,
            choose_block(blocks, args.block),
            model=name,
        )
    files += write_responses(folder, clips[models[0].name], seen, args)
    if args.cam:
        files += write_activations(folder, clips, models, args)
    return files


def choose_block(blocks: list[Block], index: int | None) -> Block:
    """Return the block whose routes are shown.

    Raises:
        ValueError: If the block does not exist or does not align.
    """
    found = [b for b in blocks if index is None or b.index == index]
    if not found:
        numbers = ', '.join(str(block.index) for block in blocks)
        raise ValueError(
            'Expected --block to be one of those that align, '
            f'{numbers}, got {index}.'
        )
    return found[0]


def check_same_frames(clips: Mapping[str, Clip]) -> None:
    """Check that the clips of all models have the same frames.

    Raises:
        ValueError: If they differ.
    """
    numbers = {name: clip.numbers for name, clip in clips.items()}
    first = next(iter(numbers.values()))
    for name, other in numbers.items():
        if other != first:
            raise ValueError(
                'Expected models whose test pipelines sample the same frames, '
                f'got {first} and, for {name}, {other}.'
            )


def response(block: Block) -> np.ndarray:
    """Return the response (T, rows, columns) of an observed block."""
    assert block.response is not None  # only unobserved blocks have none
    return block.response.numpy()


def write_responses(
    folder: Path,
    clip: Clip,
    seen: dict[str, Observation],
    args: argparse.Namespace,
) -> list[Path]:
    """Write the final responses and, with --block, those of that block."""
    maps = {name: response(one.final) for name, one in seen.items()}
    files = write_heat_maps(
        folder / 'responses_final',
        clip,
        maps,
        'mean of the channels before the head',
        args.fps,
    )
    if args.block is not None:
        index = args.block
        maps = {
            name: response(one.blocks[index])
            for name, one in seen.items()
            if index < len(one.blocks)
        }
        files += write_heat_maps(
            folder / f'responses_block{index}',
            clip,
            maps,
            f'mean of the channels after the temporal module {index}',
            args.fps,
        )
    return files


def write_activations(
    folder: Path,
    clips: Mapping[str, View],
    models: list[Model],
    args: argparse.Namespace,
) -> list[Path]:
    """Write the class activation of each model's predicted class."""
    block = -1 if args.block is None else args.block
    maps = {}
    for model in models:
        values, label = class_activation(
            model.recognizer, clips[model.name].inputs, block=block
        )
        maps[f'{model.name}: {model.classes[label]}'] = values
    return write_heat_maps(
        folder / 'class_activation',
        clips[models[0].name],
        maps,
        'class activation (Grad-CAM)',
        args.fps,
    )


def main() -> None:
    """Visualize each video and print the files."""
    args = parse_args()
    print_demo(args)
    hide_log()
    escape_names()
    with user_errors():
        check_options(args)
        found = [v for name in args.videos for v in find_videos(name)]
        videos = list(dict.fromkeys(found))
        folders = out_folders(videos, args.out_dir)
        make_folder(args.out_dir)
        models = load_models(args)
    failed = []
    reader = Workers(
        partial(read, models=models, args=args), time_limit=args.time_limit
    )
    with reader, stderr_progress() as progress:
        samples = reader.imap(videos)
        for sample in progress.track(
            samples, total=len(videos), description='Videos'
        ):
            try:
                files = visualize(sample, folders[sample.item], models, args)
                print_result('\n'.join(map(str, files)))
            except (ValueError, OSError) as error:
                if not is_user_error(error):
                    raise
                print_error(one_line(error))
                failed.append(sample.item)
    if len(videos) > 1:
        print_summary(len(videos), failed, 'visualized')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
