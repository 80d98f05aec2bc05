# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Measure the mutual information of neighbouring frames in a model.

Sec. 3.2 and Table 4 of the paper. ``python
tools/measure_mutual_information.py CONFIG CHECKPOINT`` runs the model on the
test videos of the config, and prints a Markdown table in nats, averaged over
all neighbouring frame pairs. It has two rows for each temporal module, the
features before and after it; for `ATATimeSformer`, 'embedding', the patch
embeddings without position and time, "None" in Table 4; and for all backbones
of ata_mm 'final', the last patches. 'all pairs' does not depend on the order
of the patches; 'in place' compares a patch with the patch at the same position
in the next frame, 'aligned' with its match. The upper bound of all is log N.

Matching raises the estimate even if frames have nothing in common. The columns
'unrelated' are the control: the same quantities of frames of different videos,
each frame with the next one of the previous video. What 'aligned' has beyond
'unrelated: aligned' is common content. A single video has no control.

The estimator is not the paper's, see ``ata_mm/ops/mutual_information.py``:
compare only values of the same temperature with each other.
"""

import argparse
import json
import math
from collections.abc import Iterable

from ata_mm.cli.arguments import (
    add_cfg_options,
    add_device_option,
    make_folder_of,
    positive,
)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Measure the mutual information of neighbouring frames'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint of the trained model')
    parser.add_argument(
        '--blocks',
        type=int,
        nargs='+',
        metavar='INDEX',
        help='indices of temporal modules, from 0 (default: all)',
    )
    parser.add_argument(
        '--temperature',
        type=float,
        default=0.1,
        help='temperature of the softmax over similarities (default: 0.1)',
    )
    parser.add_argument(
        '--max-videos',
        type=positive,
        metavar='N',
        help='measure N videos, spread evenly over the test set (default: '
        'all)',
    )
    parser.add_argument(
        '--out', metavar='FILE.json', help='write the values to this file'
    )
    add_device_option(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    if not 0 < args.temperature < math.inf:
        parser.error(
            'Expected --temperature above 0 and finite, got '
            f'{args.temperature}.'
        )
    return args


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import numpy as np
import torch
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.fileio import put_text
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Subset

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.cli.console import hide_log, print_message, stderr_progress
from ata_mm.cli.errors import user_errors
from ata_mm.cli.launch import fit_workers
from ata_mm.cli.tables import markdown_table
from ata_mm.datasets.checks import check_config
from ata_mm.evaluation import MutualInformation
from ata_mm.introspection import InformationProbe

QUANTITIES = {
    'all_pairs': 'all pairs',
    'in_place': 'in place',
    'aligned': 'aligned',
    'all_pairs_unrelated': 'unrelated: all pairs',
    'in_place_unrelated': 'unrelated: in place',
    'aligned_unrelated': 'unrelated: aligned',
}


def test_loader(cfg: Config, max_videos: int | None) -> DataLoader:
    """Build the data loader of the test set.

    Args:
        cfg (Config): A config of MMAction2.
        max_videos (int | None): Number of videos, spread evenly over the test
            set; None for all.
    """
    loader = cfg.test_dataloader.copy()
    dataset = DATASETS.build(loader.dataset)
    if max_videos is not None and max_videos < len(dataset):
        index = np.linspace(0, len(dataset) - 1, max_videos).round()
        dataset = Subset(dataset, index.astype(int).tolist())
    loader.dataset = dataset
    return Runner.build_dataloader(loader)


def measure(
    model: BaseModel, probe: InformationProbe, loader: Iterable[dict]
) -> list[dict[str, float]]:
    """Measure the videos of a data loader.

    Args:
        model (BaseModel): The recognizer.
        probe (InformationProbe): A probe for this model.
        loader (Iterable[dict]): Batches of the test set.

    Returns:
        list[dict[str, float]]: The values of each video, by name.
    """
    videos: list[dict[str, float]] = []
    with probe, torch.no_grad(), stderr_progress() as progress:
        for batch in progress.track(loader, description='Batches'):
            samples = model.test_step(batch)
            videos += probe.take(len(samples))
    return videos


def table(means: dict[str, float], num_patches: dict[str, int]) -> str:
    """Format the means over all videos as a Markdown table.

    Args:
        means (dict[str, float]): By names such as 'block0/before/aligned'.
        num_patches (dict[str, int]): Patches a frame, N, by names such as
            'block0/before'.
    """
    shown = {
        quantity: title
        for quantity, title in QUANTITIES.items()
        if any(name.endswith(f'/{quantity}') for name in means)
    }
    rows = []
    for name, number in num_patches.items():
        values = [math.log(number)]
        values += [means[f'{name}/{quantity}'] for quantity in shown]
        rows.append(
            [
                name.replace('/', ', '),
                number,
                *(f'{value:.3f}' for value in values),
            ]
        )
    header = '', 'patches', 'log N', *shown.values()
    return markdown_table(header, rows)


def main() -> None:
    """Measure the test set and print the table."""
    args = parse_args()
    hide_log()
    with user_errors():
        make_folder_of(args.out, '--out')
        cfg = load_config(args.config, args.cfg_options)
        init_default_scope(cfg.default_scope)
        check_config(cfg, ('test',))
        fit_workers(cfg)
        recognizer = VideoRecognizer(cfg, args.checkpoint, args.device)
        probe = InformationProbe(
            recognizer.model, args.blocks or 'all', args.temperature
        )
        loader = test_loader(cfg, args.max_videos)
        videos = measure(recognizer.model, probe, loader)
    means = MutualInformation().compute_metrics(videos)
    print(f'{len(videos)} videos, temperature {args.temperature}, nats\n')
    print(table(means, probe.num_patches))
    if not any(name.endswith('_unrelated') for name in means):
        print_message(
            'warning: no control: frames of different videos need two videos '
            'or more, and of one shape'
        )
    if args.out:
        result = dict(
            config=args.config,
            checkpoint=args.checkpoint,
            temperature=args.temperature,
            videos=len(videos),
            num_patches=probe.num_patches,
            means=means,
        )
        text = json.dumps(result, indent=2, allow_nan=False)
        with user_errors():
            put_text(f'{text}\n', args.out)


if __name__ == '__main__':
    main()
