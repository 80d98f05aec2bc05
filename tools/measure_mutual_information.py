# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Mutual information of neighbouring frames in a model (Sec. 3.2, Table 4).

``python tools/measure_mutual_information.py CONFIG CHECKPOINT`` sends test
videos of the config through the model, and prints a Markdown table: a row for
the features before and one for those after each temporal module, in nats,
averaged over all pairs of neighbouring frames. 'all pairs' does not depend on
the order of the patches; 'in place' compares a patch with that at its own
place in the next frame, 'aligned' with the one that it is matched to; none is
above log N. The estimator is ours, see ``ata_mm/ops/mutual_information.py``:
compare values at the same temperature with each other, not with the paper's.
"""
import argparse
import json
import math
from pathlib import Path
from typing import Dict, Iterable, List, Optional

import ata_mm  # noqa: F401  must precede what mmaction2 imports

import numpy as np
import torch
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Subset

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.apis.config import fit_workers
from ata_mm.cli.launch import add_cfg_options, user_errors
from ata_mm.cli.progress import stderr_progress
from ata_mm.datasets.annotations import check_config
from ata_mm.evaluation import InformationProbe, MutualInformation

QUANTITIES = ('all_pairs', 'in_place', 'aligned')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Mutual information of neighbouring frames in a model')
    parser.add_argument('config', help='the config file')
    parser.add_argument('checkpoint', help='the trained weights')
    parser.add_argument(
        '--blocks',
        type=int,
        nargs='+',
        metavar='INDEX',
        help='temporal modules to look at, from 0 (default: all)')
    parser.add_argument(
        '--temperature',
        type=float,
        default=0.1,
        help='of the softmax over similarities (default: 0.1)')
    parser.add_argument(
        '--max-videos',
        type=int,
        metavar='N',
        help='take N videos, spread evenly over the test set (default: all)')
    parser.add_argument(
        '--out', metavar='FILE.json', help='write the values there too')
    parser.add_argument(
        '--device', help='cpu, cuda, cuda:1, … (default: the GPU if any)')
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.max_videos is not None and args.max_videos < 1:
        parser.error(f'--max-videos expects 1 or more, got {args.max_videos}')
    if args.temperature <= 0:
        parser.error('--temperature expects a number above 0, got '
                     f'{args.temperature}')
    return args


def test_loader(cfg: Config, max_videos: Optional[int]) -> DataLoader:
    """The data loader of the test set, or of videos spread evenly over it."""
    loader = cfg.test_dataloader.copy()
    dataset = DATASETS.build(loader.dataset)
    if max_videos is not None and max_videos < len(dataset):
        index = np.linspace(0, len(dataset) - 1, max_videos).round()
        dataset = Subset(dataset, index.astype(int).tolist())
    loader.dataset = dataset
    return Runner.build_dataloader(loader)


def measure(recognizer: VideoRecognizer, probe: InformationProbe,
            loader: Iterable[dict]) -> List[Dict[str, float]]:
    """The values of each video of a data loader."""
    videos = []
    with probe, torch.no_grad(), stderr_progress() as progress:
        for batch in progress.track(loader, description='Batches'):
            samples = recognizer.model.test_step(batch)
            videos += probe.take(len(samples))
    return videos


def table(means: Dict[str, float], num_patches: Dict[str, int]) -> str:
    """The means in Markdown."""
    rows = [
        '| | patches | log N | all pairs | in place | aligned |',
        '|---' * 6 + '|'
    ]
    for name, number in num_patches.items():
        values = [math.log(number)]
        values += [means[f'{name}/{quantity}'] for quantity in QUANTITIES]
        cells = ' | '.join(f'{value:.3f}' for value in values)
        rows.append(f'| {name.replace("/", ", ")} | {number} | {cells} |')
    return '\n'.join(rows)


def main() -> None:
    """Measure as the command line says."""
    args = parse_args()
    MMLogger.get_current_instance().setLevel('ERROR')
    with user_errors():
        cfg = load_config(args.config, args.cfg_options)
        init_default_scope(cfg.default_scope)
        check_config(cfg, ('test', ))
        fit_workers(cfg)
        recognizer = VideoRecognizer(cfg, args.checkpoint, args.device)
        probe = InformationProbe(recognizer.model, args.blocks or 'all',
                                 args.temperature)
        loader = test_loader(cfg, args.max_videos)
    videos = measure(recognizer, probe, loader)
    means = MutualInformation().compute_metrics(videos)
    print(f'{len(videos)} videos, temperature {args.temperature}, nats\n')
    print(table(means, probe.num_patches))
    if args.out:
        result = dict(
            config=args.config,
            checkpoint=args.checkpoint,
            temperature=args.temperature,
            videos=len(videos),
            num_patches=probe.num_patches,
            means=means)
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
    main()
