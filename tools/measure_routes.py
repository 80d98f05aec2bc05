# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Compare the routes of a trained recognizer with the true motion.

``python tools/measure_routes.py CONFIG CHECKPOINT`` runs the model on test
videos whose true motion is known: those of :class:`CameraMotionDataset`,
:class:`MovingObjectsDataset` or :class:`PhotoMotionDataset`. For each temporal
module it prints how much of the visible content the routes follow, per step
and after steps from frame 0, within one cell or to the nearest patch, and the
mutual information of neighbouring frames before it, beyond that of unrelated
ones, in nats. Without routes, patches stay in place: what is followed then is
the baseline of routes on the same videos.

Videos are read with the pipeline of the validation, which takes one view. Of
several checkpoints, such as those of all epochs, there is a table each.
"""

import argparse
import json

from ata_mm.cli.arguments import (
    add_cfg_options,
    add_device_option,
    make_folder_of,
    positive,
)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Compare routes with the true motion'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoints',
        nargs='+',
        metavar='checkpoint',
        help='checkpoint of the trained model',
    )
    parser.add_argument(
        '--videos',
        type=positive,
        default=128,
        metavar='N',
        help='measure the first N test videos (default: 128)',
    )
    parser.add_argument(
        '--no-information',
        action='store_true',
        help='measure routes alone, which takes a third of the time',
    )
    parser.add_argument(
        '--out', metavar='FILE.json', help='write the values to this file'
    )
    add_device_option(parser)
    add_cfg_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

from mmaction.apis import init_recognizer
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.fileio import put_text
from mmengine.registry import init_default_scope

from ata_mm.apis.config import check_checkpoint, load_config, use_device
from ata_mm.apis.recognizer import load_weights
from ata_mm.cli.console import hide_log
from ata_mm.cli.errors import user_errors
from ata_mm.cli.tables import markdown_table
from ata_mm.datasets import RenderedDataset
from ata_mm.datasets.rendered import is_rendered
from ata_mm.evaluation.rendered_routes import (
    ROUTE_COLUMNS,
    describe_routes,
    load_clips,
    route_row,
)


def test_videos(cfg: Config) -> RenderedDataset:
    """Build the test set of a config, with the pipeline of the validation.

    Args:
        cfg (Config): The config.

    Returns:
        RenderedDataset: The data set.

    Raises:
        ValueError: If the true motion of the videos is not known.
    """
    dataset = cfg.test_dataloader.dataset
    if not is_rendered(dataset.type):
        raise ValueError(
            'Expected a test set whose true motion is known, such as '
            f'CameraMotionDataset, got {dataset.type}.'
        )
    pipeline = cfg.val_dataloader.dataset.pipeline
    return DATASETS.build(dict(dataset, pipeline=pipeline))


def main() -> None:
    """Measure each checkpoint, and print a table."""
    args = parse_args()
    hide_log()
    found = []
    with user_errors():
        make_folder_of(args.out, '--out')
        cfg = load_config(args.config, args.cfg_options)
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        for checkpoint in args.checkpoints:
            check_checkpoint(checkpoint)
        device = use_device(args.device or get_device())
        model = init_recognizer(cfg, device=str(device))
        clips = load_clips(test_videos(cfg), args.videos)
        for checkpoint in args.checkpoints:
            load_weights(model, checkpoint)
            blocks = describe_routes(model, clips, not args.no_information)
            found.append(dict(file=checkpoint, blocks=blocks))
            rows = [[i, *route_row(own)] for i, own in enumerate(blocks)]
            print(f'{checkpoint}\n')
            print(markdown_table(['block', *ROUTE_COLUMNS], rows) + '\n')
        if args.out:
            result = dict(
                config=args.config,
                videos=len(clips),
                checkpoints=found,
            )
            text = json.dumps(result, indent=2, allow_nan=False)
            put_text(f'{text}\n', args.out)


if __name__ == '__main__':
    main()
