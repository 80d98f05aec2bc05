# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Time the ways to predict many videos: ``tools/benchmark_prediction.py``.

Predicts copies of a video in each way, round after round in one process:

- one by one: reading and model in turn;
- batch B, workers W: as ``tools/predict.py --batch B --workers W``.

Prints medians, and the medians of the ratios within each round, as a Markdown
table, then the time of a video by step, one by one. *Matching* is the time
within the aligners, which includes the composition of routes.

Without ``--config``, the model is a ViT of 4 blocks and 192 channels with
exact matching in each block, of 8 frames of 112 x 112 pixels; without
``--checkpoint``, its weights are random. Without a video, it makes an H.264
clip of 48 frames of 320 x 240 pixels.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ata_mm.cli.arguments import (
    add_model_options,
    add_timing_options,
    positive,
)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Time the ways to predict many videos'
    )
    parser.add_argument('video', nargs='?', help='default: a rendered clip')
    parser.add_argument(
        '--copies', type=positive, default=64, help='of the video (64)'
    )
    for name, what in (
        ('batch', 'views that the model takes at a time'),
        ('workers', 'decoding processes'),
    ):
        parser.add_argument(
            f'--{name}',
            nargs='+',
            type=positive,
            default=[1, 8] if name == 'batch' else [1, 2],
            metavar='N',
            help=f'numbers of {what} to time (default: %(default)s)',
        )
    parser.add_argument(
        '--amp', action='store_true', help='compute in half precision'
    )
    add_timing_options(parser, rounds=7)
    add_model_options(parser, required=False)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import torch
from benchmark_reading import make_video, steps
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

from ata_mm.apis import VideoRecognizer, load_config, predict_videos
from ata_mm.cli.console import hide_log, print_message, round_progress
from ata_mm.cli.errors import user_errors
from ata_mm.cli.tables import markdown_table
from ata_mm.cli.timing import ModuleTimer, paired_times, ratio_table
from ata_mm.models import ATA
from ata_mm.video import open_video

SIDE, CHANNELS = 112, 192
MODEL = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ATATimeSformer',
        num_frames=8,
        img_size=SIDE,
        patch_size=16,
        embed_dims=CHANNELS,
        num_heads=3,
        num_layers=4,
        # Zero-initialised, it would not change the features that later
        # blocks match.
        temporal=dict(type='ATA', zero_init=False),
    ),
    cls_head=dict(
        type='TimeSformerHead',
        num_classes=8,
        in_channels=CHANNELS,
        average_clips='prob',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5] * 3,
        std=[127.5] * 3,
        format_shape='NCTHW',
    ),
)

Score = Callable[[], list[Tensor]]


def own_config() -> Config:
    """Return the config of the default model."""
    pipeline: list[Any] = steps(
        dict(type='VideoInit'), dict(type='VideoDecode')
    )
    pipeline[1].update(frame_interval=4)
    pipeline[3].update(scale=(-1, SIDE))
    pipeline[4].update(crop_size=SIDE)
    dataset = dict(type='VideoDataset', ann_file='', pipeline=pipeline)
    return Config(
        dict(
            default_scope='mmaction',
            model=MODEL,
            test_dataloader=dict(dataset=dataset),
        )
    )


def build(args: argparse.Namespace, folder: Path) -> VideoRecognizer:
    """Build the model, and write what is not given to a folder."""
    config, checkpoint = args.config, args.checkpoint
    if config is None:
        config = folder / 'config.py'
        own_config().dump(config)
    cfg = load_config(config, args.cfg_options)
    if checkpoint is None:
        init_default_scope(cfg.default_scope)
        torch.manual_seed(0)
        checkpoint = str(folder / 'random.pth')
        weights = MODELS.build(cfg.model).state_dict()
        torch.save(dict(state_dict=weights), checkpoint)
    return VideoRecognizer(cfg, checkpoint, args.device, amp=args.amp)


def copy_video(args: argparse.Namespace, folder: Path) -> list[str]:
    """Write the copies of the video, which is made if none is given."""
    video = args.video
    if video is None:
        video = folder / 'made.mp4'
        make_video(video, (320, 240), 48)
    open_video(str(video)).close()  # says what is wrong with the file
    copies = [str(folder / f'{i}.mp4') for i in range(args.copies)]
    return [shutil.copy(video, copy) for copy in copies]


def predict(
    recognizer: VideoRecognizer, videos: list[str], batch: int, workers: int
) -> list[Tensor]:
    """Score videos as tools/predict.py does."""
    outcomes = predict_videos(recognizer, videos, batch, workers)
    return [outcome.get() for outcome in outcomes]


def ways(
    recognizer: VideoRecognizer,
    videos: list[str],
    batches: list[int],
    workers: list[int],
) -> dict[str, Score]:
    """Return the ways to score all videos, by name."""
    found: dict[str, Score] = {
        'one by one': lambda: list(map(recognizer.scores, videos)),
    }
    for batch in batches:
        for number in workers:
            name = f'batch {batch}, workers {number}'
            found[name] = partial(predict, recognizer, videos, batch, number)
    return found


def step_table(recognizer: VideoRecognizer, videos: list[str]) -> str:
    """Measure the time of a video by step, one video at a time."""
    aligners = [
        m.aligner for m in recognizer.model.modules() if isinstance(m, ATA)
    ]
    device = next(recognizer.model.parameters()).device
    timer = ModuleTimer(aligners, device)
    seconds = dict.fromkeys(('decoding', 'model', 'matching'), 0.0)
    for video in videos:
        start = time.perf_counter()
        sample = recognizer.read(video)
        read = time.perf_counter()
        recognizer.score(sample)
        end, matching = time.perf_counter(), timer.take()
        seconds['decoding'] += read - start
        seconds['model'] += end - read - matching
        seconds['matching'] += matching
    total = sum(seconds.values())
    rows = [
        [name, f'{1e3 * value / len(videos):.1f}', f'{value / total:.0%}']
        for name, value in seconds.items()
    ]
    return markdown_table(['', 'ms a video', 'share'], rows)


def main() -> None:
    """Print both tables."""
    args = parse_args()
    hide_log()
    if args.threads:
        torch.set_num_threads(args.threads)
    scores: dict[str, Tensor] = {}

    def keep(name: str, score: Score) -> None:
        scores[name] = torch.stack(score())

    with tempfile.TemporaryDirectory() as name, user_errors():
        recognizer = build(args, Path(name))
        videos = copy_video(args, Path(name))
        found = ways(recognizer, videos, args.batch, args.workers)
        with round_progress(args.rounds) as advance:
            functions = {n: partial(keep, n, s) for n, s in found.items()}
            times = paired_times(functions, args.rounds, advance)
        print(f'{ratio_table(times)}\n\n{step_table(recognizer, videos)}')
    first, *others = scores.values()
    difference = max((own - first).abs().max().item() for own in others)
    print_message(f'largest difference of a score: {difference:.1e}')


if __name__ == '__main__':
    main()
