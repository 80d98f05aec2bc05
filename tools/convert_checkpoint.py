# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Convert a published checkpoint to the names of ata_mm.

``python tools/convert_checkpoint.py IN OUT`` writes the keys of a recognizer,
``backbone.…`` and ``cls_head.fc_cls.…``; sizes stay as they are. With
``--config CONFIG`` the embeddings are fitted to the model of the config, its
temporal attention is started from an image model, and every key is checked.
Nothing else of the file is kept.
"""
import argparse
import os.path as osp

import ata_mm  # noqa: F401  must precede what mmaction2 imports

import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from ata_mm.apis.config import check_checkpoint, load_config
from ata_mm.checkpoints import convert_checkpoint
from ata_mm.cli.launch import add_cfg_options, user_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Convert a published checkpoint to the names of ata_mm')
    parser.add_argument('source', metavar='IN', help='a checkpoint, or a URL')
    parser.add_argument('target', metavar='OUT', help='the file to write')
    parser.add_argument(
        '--config',
        help='fit it to the model of this config; needed for image models '
        'other than ViT, ConvNeXt and CycleMLP')
    add_cfg_options(parser)
    return parser.parse_args()


def check_options(args: argparse.Namespace) -> None:
    """Refuse before any work what would fail after it."""
    check_checkpoint(args.source)
    if osp.exists(args.target):
        raise ValueError(f'{args.target} exists; expected the name of a new '
                         'file, remove this one first')
    if not osp.isdir(osp.dirname(args.target) or '.'):
        raise FileNotFoundError(
            f'the directory of {args.target} does not exist; make it first')
    if args.cfg_options and not args.config:
        raise ValueError('--cfg-options changes a config; expected --config')


def build_model(args: argparse.Namespace) -> nn.Module:
    """The recognizer of the config, without its pretrained weights."""
    cfg = load_config(args.config, args.cfg_options)
    init_default_scope(cfg.default_scope)
    return MODELS.build(cfg.model)


def main() -> None:
    """Convert as the command line says."""
    args = parse_args()
    with user_errors():
        check_options(args)
        model = build_model(args) if args.config else None
        state_dict, report = convert_checkpoint(args.source, model)
    torch.save(dict(state_dict=state_dict, meta={}), args.target)
    print(f'{report}\nWritten to {args.target}')


if __name__ == '__main__':
    main()
