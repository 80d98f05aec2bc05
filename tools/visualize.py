# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""See where patches go, and what models respond to.

``python tools/visualize.py VIDEO …`` matches the pixels themselves, for a look
without a model. With ``--config`` and ``--checkpoint``, of one model or of
several, it shows what they do in a forward pass: the routes that ATA takes,
the matching of a pair of frames, and the responses of all models side by side.
The files of a video go into a folder of its name; ``routes.html`` is to be
opened in a browser. The exit status is 1 if a video failed.
"""
import argparse
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

import ata_mm  # noqa: F401  must precede what mmaction2 imports

from mmaction.apis import init_recognizer
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from torch import nn

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.apis.recognizer import class_names
from ata_mm.cli.launch import add_cfg_options, make_folder, user_errors
from ata_mm.cli.progress import stderr_progress
from ata_mm.models import ATA
from ata_mm.video.clips import Clip, match_pixels, read_pictures, read_view
from ata_mm.video.files import find_videos
from ata_mm.visualization import Block, Observation, class_activation, observe
from ata_mm.visualization.files import write_heat_maps, write_routes


class Model(NamedTuple):
    """A recognizer and how it is called in the pictures."""
    name: str
    cfg: Config
    recognizer: nn.Module
    classes: List[str]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Routes of patches, and responses of models')
    parser.add_argument(
        'videos', nargs='+', metavar='VIDEO', help='files, folders, patterns')
    parser.add_argument(
        '--config', nargs='+', default=[], help='the config of each model')
    parser.add_argument(
        '--checkpoint',
        nargs='+',
        default=[],
        help='the weights of each model (default: random ones)')
    parser.add_argument(
        '--out-dir',
        default='visualizations',
        help='where the folders of the videos go (default: visualizations)')
    parser.add_argument(
        '--patches',
        nargs='+',
        type=_patch,
        metavar='ROW,COLUMN',
        help='patches of the first frame to follow, from 0,0 at the top left '
        '(default: five that move)')
    parser.add_argument(
        '--block',
        type=int,
        help='index of the temporal module to look at (default: for routes, '
        'the first that aligns; for class activation, the last)')
    parser.add_argument(
        '--pair',
        type=int,
        default=0,
        help='which neighbouring frames to show the matching of (default: 0)')
    parser.add_argument(
        '--cam',
        action='store_true',
        help='show where the models see their best class (Grad-CAM)')
    parser.add_argument(
        '--view',
        type=int,
        help='which view of the test pipeline (default: the middle one)')
    parser.add_argument(
        '--num-frames',
        type=int,
        default=8,
        help='frames, without a config (default: 8)')
    parser.add_argument(
        '--interval',
        type=int,
        help='frames of the video from one to the next, without a config '
        '(default: a quarter of a second)')
    parser.add_argument(
        '--rows',
        type=int,
        default=14,
        help='patches on the short side, without a config (default: 14)')
    parser.add_argument(
        '--fps', type=float, default=2., help='of the mp4 files (default: 2)')
    parser.add_argument(
        '--quality',
        type=int,
        default=80,
        help='JPEG quality of the frames in the page (default: 80)')
    parser.add_argument('--device', help='default: the GPU if any')
    add_cfg_options(parser)
    return parser.parse_args()


def _patch(text: str) -> Tuple[int, int]:
    try:
        row, column = map(int, text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'expected ROW,COLUMN such as 3,5, got {text!r}') from None
    return row, column


def check_options(args: argparse.Namespace) -> None:
    """Refuse before any work what would fail after it."""
    for name in ('num_frames', 'rows', 'interval', 'fps'):
        value = getattr(args, name)
        least = 2 if name == 'num_frames' else 1
        if value is not None and value < least:
            raise ValueError(f'--{name.replace("_", "-")} expects at least '
                             f'{least}, got {value}')
    if not 1 <= args.quality <= 100:
        raise ValueError(f'--quality expects 1 to 100, got {args.quality}')
    if args.checkpoint and len(args.checkpoint) != len(args.config):
        raise ValueError(
            f'expected a checkpoint for each of the {len(args.config)} '
            f'configs, got {len(args.checkpoint)}')
    if not args.config and (args.cam or args.block is not None):
        raise ValueError('--cam and --block need a model: give its --config '
                         'and --checkpoint')


def out_folders(videos: List[str], out_dir: str) -> Dict[str, Path]:
    """Where the files of each video go."""
    folders = {video: Path(out_dir, Path(video).stem) for video in videos}
    if len(set(folders.values())) < len(folders):
        raise ValueError('two of the videos have the same name; visualize '
                         'them one after the other, each with its --out-dir')
    return folders


def load_models(args: argparse.Namespace) -> List[Model]:
    """Build the models of the command line.

    Raises:
        ValueError: If none of them has ATA.
    """
    models = [load_model(args, i) for i in range(len(args.config))]
    if models and not any(has_ata(model) for model in models):
        raise ValueError(
            f'{", ".join(m.name for m in models)}: no temporal module of type '
            "ATA, so there are no routes; give a config with temporal=dict("
            "type='ATA') among the others")
    return models


def load_model(args: argparse.Namespace, index: int) -> Model:
    """Build one model, under a name of its own."""
    path = args.config[index]
    cfg, name = load_config(path, args.cfg_options), Path(path).stem
    if [Path(other).stem for other in args.config].count(name) > 1:
        name += f'_{index}'
    if args.checkpoint:
        loaded = VideoRecognizer(cfg, args.checkpoint[index], args.device)
        return Model(name, cfg, loaded.model, loaded.classes)
    print(
        f'warning: no --checkpoint: the weights of {name} are random',
        file=sys.stderr)
    recognizer = init_recognizer(cfg, device=args.device or get_device())
    return Model(f'{name}_untrained', cfg, recognizer, class_names(cfg, {}))


def has_ata(model: Model) -> bool:
    """Whether a model has a module that aligns."""
    return any(isinstance(m, ATA) for m in model.recognizer.modules())


def visualize(video: str, folder: Path, models: List[Model],
              args: argparse.Namespace) -> List[Path]:
    """Write all pictures of a video; returns the files."""
    options = dict(
        patches=args.patches,
        pair=args.pair,
        fps=args.fps,
        quality=args.quality,
        video=Path(video).name)
    if not models:
        clip, grid = read_pictures(video, args.num_frames, args.interval,
                                   args.rows)
        block = match_pixels(clip, grid)
        return write_routes(
            folder, clip, [block], block, model='pixels', **options)
    clips = {m.name: read_view(video, m.cfg, args.view) for m in models}
    check_same_frames(clips)
    seen = {
        m.name: observe(m.recognizer, clips[m.name].inputs)
        for m in models
    }
    files = []
    for name in [m.name for m in models if has_ata(m)]:
        place = folder if len(models) == 1 else folder / name
        blocks = [b for b in seen[name].blocks if b.alignment is not None]
        files += write_routes(
            place,
            clips[name],
            blocks,
            choose_block(blocks, args.block),
            model=name,
            **options)
    files += write_responses(folder, clips[models[0].name], seen, args)
    if args.cam:
        files += write_activations(folder, clips, models, args)
    return files


def choose_block(blocks: List[Block], index: Optional[int]) -> Block:
    """The block whose routes are shown.

    Raises:
        ValueError: If it is not there or does not align.
    """
    found = [b for b in blocks if index is None or b.index == index]
    if not found:
        numbers = ', '.join(str(block.index) for block in blocks)
        raise ValueError(f'expected --block to be one of those that align, '
                         f'{numbers}, got {index}')
    return found[0]


def check_same_frames(clips: Dict[str, Clip]) -> None:
    """Check that what is to stand side by side shows the same frames."""
    numbers = {name: clip.numbers for name, clip in clips.items()}
    first = next(iter(numbers.values()))
    for name, other in numbers.items():
        if other != first:
            raise ValueError(
                'expected models whose test pipelines take the same frames, '
                f'got {first} and, for {name}, {other}')


def write_responses(folder: Path, clip: Clip, seen: Dict[str, Observation],
                    args: argparse.Namespace) -> List[Path]:
    """Responses at the end and, with --block, after that block."""
    maps = {name: one.final.response.numpy() for name, one in seen.items()}
    files = write_heat_maps(folder / 'responses_final', clip, maps,
                            'mean of the channels before the head', args.fps)
    if args.block is not None:
        index = args.block
        maps = {
            name: one.blocks[index].response.numpy()
            for name, one in seen.items() if index < len(one.blocks)
        }
        files += write_heat_maps(
            folder / f'responses_block{index}', clip, maps,
            f'mean of the channels after the temporal module {index}',
            args.fps)
    return files


def write_activations(folder: Path, clips: Dict[str,
                                                Clip], models: List[Model],
                      args: argparse.Namespace) -> List[Path]:
    """Class activation of each model's best class."""
    block = -1 if args.block is None else args.block
    maps = {}
    for name, cfg, recognizer, classes in models:
        values, label = class_activation(
            recognizer, clips[name].inputs, block=block)
        maps[f'{name}: {classes[label]}'] = values
    return write_heat_maps(folder / 'class_activation', clips[models[0].name],
                           maps, 'class activation (Grad-CAM)', args.fps)


def main() -> None:
    """Visualize as the command line says."""
    args = parse_args()
    # mmengine's notes on its own deprecations would get between the lines.
    MMLogger.get_current_instance().setLevel('ERROR')
    with user_errors():
        check_options(args)
        videos = [v for name in args.videos for v in find_videos(name)]
        folders = out_folders(videos, args.out_dir)
        make_folder(args.out_dir)
        models = load_models(args)
    failed = []
    with stderr_progress() as progress:
        for video in progress.track(videos, description='Videos'):
            try:
                files = visualize(video, folders[video], models, args)
                print('\n'.join(map(str, files)), flush=True)
            except (ValueError, OSError) as error:
                print(f'error: {error}', file=sys.stderr)
                failed.append(video)
    if len(videos) > 1:
        print(
            f'{len(videos) - len(failed)} of {len(videos)} videos '
            'visualized' + ''.join(f'\n  failed: {v}' for v in failed),
            file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
