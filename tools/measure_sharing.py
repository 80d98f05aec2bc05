# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Measure the similarity along routes that blocks share.

``python tools/measure_sharing.py VIDEO … --config CONFIG --checkpoint
CHECKPOINT --cfg-options model.backbone.temporal.share_alignment=stage`` runs
the model on one view of each video, and prints a Markdown table of mean cosine
similarities of neighbouring frames at each ATA: of patches at the same
position ('in place'), along the routes that the block follows ('followed'),
and along the routes of its own features ('own'). 'kept' is the share of the
gain over 'in place' that the followed routes keep.
"""

import argparse
from collections.abc import Sequence

from ata_mm.cli.arguments import add_model_options


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Measure the similarity along shared routes'
    )
    parser.add_argument(
        'videos',
        nargs='+',
        metavar='VIDEO',
        help='video files, folders or patterns',
    )
    add_model_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import torch
import torch.nn.functional as F

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.cli.console import hide_log, stderr_progress
from ata_mm.cli.errors import user_errors
from ata_mm.cli.tables import markdown_table
from ata_mm.introspection import observe
from ata_mm.models import ATA
from ata_mm.video import find_videos, read_view


def measure(recognizer: VideoRecognizer, video: str) -> torch.Tensor:
    """Measure the similarities of one video.

    Args:
        recognizer (VideoRecognizer): A model with ATA.
        video (str): The video file.

    Returns:
        Tensor: In place, followed and own similarity of each ATA, (blocks, 3).
    """
    inputs = read_view(video, recognizer.cfg).inputs
    modules = dict(recognizer.model.named_modules())
    values = []
    for block in observe(recognizer.model, inputs).blocks:
        module, x = modules[block.name], block.features
        if not isinstance(module, ATA) or x is None:
            continue
        own = module.aligner(x, block.grid)
        in_place = F.cosine_similarity(x[:, :-1], x[:, 1:], dim=-1)
        values.append(
            [
                similarity.mean().item()
                for similarity in (
                    in_place,
                    block.similarity(),
                    own.similarity(x),
                )
            ]
        )
    return torch.tensor(values)


def table(means: Sequence[Sequence[float]]) -> str:
    """Format the means over all videos as a Markdown table.

    Args:
        means (Sequence[Sequence[float]]): In place, followed and own
            similarity of each ATA.
    """
    rows = []
    for index, (in_place, followed, own) in enumerate(means):
        gain = own - in_place
        kept = f'{(followed - in_place) / gain:.3f}' if gain else '–'
        values = (f'{value:.3f}' for value in (in_place, followed, own))
        rows.append([index, *values, kept])
    return markdown_table(['ATA', 'in place', 'followed', 'own', 'kept'], rows)


def main() -> None:
    """Measure all videos and print the table."""
    args = parse_args()
    hide_log()
    with user_errors():
        cfg = load_config(args.config, args.cfg_options)
        recognizer = VideoRecognizer(cfg, args.checkpoint, args.device)
        if not any(isinstance(m, ATA) for m in recognizer.model.modules()):
            raise ValueError(
                "Expected a config with temporal=dict(type='ATA'), got "
                f'{args.config}, which has no ATA.'
            )
        videos = [v for word in args.videos for v in find_videos(word)]
        with stderr_progress() as progress:
            values = [
                measure(recognizer, video)
                for video in progress.track(videos, description='Videos')
            ]
    print(f'{len(values)} videos\n')
    print(table(torch.stack(values).mean(0).tolist()))


if __name__ == '__main__':
    main()
