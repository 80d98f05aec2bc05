# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""How good routes still are where a block follows those of another one.

``python tools/measure_sharing.py VIDEO … --config CONFIG --checkpoint
CHECKPOINT --cfg-options model.backbone.temporal.share_alignment=stage`` sends
one view of each video through the model, and prints a Markdown table of mean
cosine similarities of neighbouring frames at each ATA: of patches at the same
place, along the routes that the block follows, and along those of its own
input. 'kept' is the share of the gain that the followed routes have.
"""
import argparse
from typing import List

import ata_mm  # noqa: F401  must precede what mmaction2 imports

import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.cli.launch import add_cfg_options, user_errors
from ata_mm.cli.progress import stderr_progress
from ata_mm.models import ATA
from ata_mm.ops import align_frames
from ata_mm.video.clips import read_view
from ata_mm.video.files import find_videos
from ata_mm.visualization import observe


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Similarity along shared routes')
    parser.add_argument(
        'videos', nargs='+', metavar='VIDEO', help='files, folders, patterns')
    parser.add_argument('--config', required=True, help='the config file')
    parser.add_argument(
        '--checkpoint', required=True, help='the trained weights')
    parser.add_argument('--device', help='default: the GPU if any')
    add_cfg_options(parser)
    return parser.parse_args()


def measure(recognizer: VideoRecognizer, video: str) -> torch.Tensor:
    """Similarities of each ATA: (blocks, 3), in place, followed and own."""
    inputs = read_view(video, recognizer.cfg).inputs
    blocks = observe(recognizer.model, inputs).blocks
    modules = [m for m in recognizer.model.modules() if isinstance(m, ATA)]
    values = []
    for module, block in zip(modules, (b for b in blocks if b.alignment)):
        x = block.features
        own = align_frames(x, module.matcher, block.grid)
        in_place = F.cosine_similarity(x[:, :-1], x[:, 1:], dim=-1)
        values.append([
            one.mean().item()
            for one in (in_place, block.similarity(), own.similarity(x))
        ])
    return torch.tensor(values)


def table(means: List[List[float]]) -> str:
    """The means in Markdown."""
    rows = ['| ATA | in place | followed | own | kept |', '|---' * 5 + '|']
    for i, (in_place, followed, own) in enumerate(means):
        gain = own - in_place
        kept = f'{(followed - in_place) / gain:.3f}' if gain else '–'
        cells = ' | '.join(f'{n:.3f}' for n in (in_place, followed, own))
        rows.append(f'| {i} | {cells} | {kept} |')
    return '\n'.join(rows)


def main() -> None:
    """Measure as the command line says."""
    args = parse_args()
    MMLogger.get_current_instance().setLevel('ERROR')
    with user_errors():
        cfg = load_config(args.config, args.cfg_options)
        recognizer = VideoRecognizer(cfg, args.checkpoint, args.device)
        if not any(isinstance(m, ATA) for m in recognizer.model.modules()):
            raise ValueError(f'{args.config} has no ATA; expected a config '
                             "with temporal=dict(type='ATA')")
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
