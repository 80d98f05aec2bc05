# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Convert a published checkpoint to the keys of ata_mm.

``python tools/convert_checkpoint.py IN OUT`` writes the keys of a recognizer,
``backbone.…`` and ``cls_head.fc_cls.…``, without resizing. With ``--config
CONFIG`` the embeddings are resized for the model of the config, its temporal
attention is initialised from an image model, and every key is checked. Only
the weights, the names of the classes, and mean and std are written.
"""

import argparse
import os.path as osp

from ata_mm.cli.arguments import add_cfg_options


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Convert a published checkpoint to the keys of ata_mm'
    )
    parser.add_argument('source', metavar='IN', help='a checkpoint, or a URL')
    parser.add_argument('target', metavar='OUT', help='the file to write')
    parser.add_argument(
        '--config',
        help='convert for the model of this config; required for image models '
        'other than ViT, ConvNeXt and CycleMLP',
    )
    add_cfg_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from torch import nn

from ata_mm.apis.config import check_checkpoint, load_config
from ata_mm.apis.preprocessing import saved_statistics
from ata_mm.checkpoints import convert_checkpoint, read_checkpoint
from ata_mm.cli.errors import user_errors


def check_options(args: argparse.Namespace) -> None:
    """Validate the options before any work.

    Raises:
        FileNotFoundError, ValueError: If an option is invalid.
    """
    check_checkpoint(args.source)
    if osp.exists(args.target):
        raise ValueError(
            'Expected the name of a new file, but '
            f'{args.target} exists. Remove it first.'
        )
    if args.target.endswith('.safetensors'):
        raise ValueError(
            'Expected the name of a file that torch writes, got '
            f'{args.target}. Use the suffix .pth.'
        )
    if not osp.isdir(osp.dirname(args.target) or '.'):
        raise FileNotFoundError(
            'Expected an existing directory, but that of '
            f'{args.target} does not exist. Create it.'
        )
    if args.cfg_options and not args.config:
        raise ValueError(
            'Expected --config with --cfg-options, which changes '
            'settings of a config.'
        )


def build_model(args: argparse.Namespace) -> nn.Module:
    """Build the recognizer of the config, without pretrained weights."""
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope(cfg.default_scope)
    return MODELS.build(cfg.model)


def kept_meta(source: str) -> dict:
    """Return names of classes, mean and std in the meta of a checkpoint."""
    meta = read_checkpoint(source, 'silent').get('meta')
    if not isinstance(meta, dict):
        return {}
    kept = {}
    dataset = meta.get('dataset_meta')
    if isinstance(dataset, dict) and 'classes' in dataset:
        kept['dataset_meta'] = dict(classes=dataset['classes'])
    pixels = saved_statistics(meta)
    if pixels:
        kept['data_preprocessor'] = dict(mean=pixels.mean, std=pixels.std)
    return kept


def main() -> None:
    """Convert the checkpoint and print a report."""
    args = parse_args()
    with user_errors():
        check_options(args)
        model = build_model(args) if args.config else None
        state_dict, report = convert_checkpoint(args.source, model)
        meta = kept_meta(args.source)
        # By mmengine's storage, which writes the file whole or not at all.
        save_checkpoint(dict(state_dict=state_dict, meta=meta), args.target)
    print(f'{report}\nWritten to {args.target}')


if __name__ == '__main__':
    main()
