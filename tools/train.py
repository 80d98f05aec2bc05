# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Train a recognizer: ``python tools/train.py CONFIG``."""

import argparse
from pathlib import Path

from ata_mm.cli.arguments import SEEDS, add_run_options, seed


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Train a recognizer')
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from this checkpoint, or without a value from the newest '
        'readable one in the work directory, if any',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='train in automatic mixed precision (requires a GPU)',
    )
    parser.add_argument(
        '--no-validate',
        action='store_true',
        help='do not evaluate during training',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate with the batch size, from the config's "
        'auto_scale_lr.base_batch_size',
    )
    parser.add_argument('--seed', type=seed, help='the random seed')
    parser.add_argument(
        '--diff-rank-seed',
        action='store_true',
        default=None,
        help='give every process its own seed',
    )
    parser.add_argument(
        '--deterministic',
        action='store_true',
        default=None,
        help='use deterministic algorithms only',
    )
    add_run_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

from mmengine.config import Config

from ata_mm.apis.config import check_checkpoint, load_config
from ata_mm.cli.errors import user_errors
from ata_mm.cli.launch import check_precision, prepare, run
from ata_mm.video.pipeline import type_name


def set_resume(cfg: Config, resume: str) -> None:
    """Resume from a checkpoint, ``'auto'`` for the newest one.

    Raises:
        ValueError: If it is a folder.
    """
    if resume != 'auto' and Path(resume).expanduser().is_dir():
        raise ValueError(
            f'Expected a checkpoint for --resume, got the folder {resume}. '
            'Name the file, or resume from the newest one of this folder by '
            f'--work-dir {resume} --resume.'
        )
    own = cfg.get('runner_type', 'ResumableRunner') == 'ResumableRunner'
    # 'auto' keeps load_from, for a work directory without a checkpoint.
    cfg.resume = 'auto' if resume == 'auto' and own else True
    if cfg.resume != 'auto':
        cfg.load_from = None if resume == 'auto' else resume


def set_amp(cfg: Config) -> None:
    """Train in mixed precision with a dynamic loss scale."""
    wrapper = type_name(cfg.optim_wrapper.get('type', 'OptimWrapper'))
    if wrapper not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ValueError(
            'Expected OptimWrapper in the config, which --amp '
            f'replaces, got {wrapper}. Set its precision in the '
            'config.'
        )
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def set_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate with the batch size."""
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise ValueError(
            'Expected auto_scale_lr=dict(base_batch_size=…) in the config for '
            '--auto-scale-lr: the batch size that its learning rate is set '
            'for.'
        )
    cfg.auto_scale_lr.enable = True


def set_randomness(cfg: Config, args: argparse.Namespace) -> None:
    """Override the config's randomness with the options that are given."""
    names = ('seed', 'diff_rank_seed', 'deterministic')
    given = {k: v for k, v in vars(args).items() if k in names}
    given = {k: v for k, v in given.items() if v is not None}
    cfg.randomness = {'seed': None, **(cfg.get('randomness') or {}), **given}
    value = cfg.randomness.seed
    if value is not None and not (
        isinstance(value, int) and 0 <= value < SEEDS
    ):
        raise ValueError(
            f'Expected randomness.seed in 0..2**32-1, got {value!r}.'
        )


def apply_options(cfg: Config, args: argparse.Namespace) -> None:
    """Merge the options of this tool into the config and validate them."""
    if not cfg.get('optim_wrapper'):
        raise ValueError(
            f'Expected an optim_wrapper in {args.config} to train with, got '
            'none: this config is one to test.'
        )
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.resume:
        set_resume(cfg, args.resume)
    if args.amp:
        set_amp(cfg)
    if args.auto_scale_lr:
        set_auto_scale_lr(cfg)
    set_randomness(cfg, args)
    check_precision(cfg)
    if cfg.get('load_from'):
        check_checkpoint(cfg.load_from)


def main() -> None:
    """Train the config."""
    args = parse_args()
    with user_errors():
        cfg = load_config(args.config, args.cfg_options)
        apply_options(cfg, args)
        prepare(cfg, args, loaders=('train', 'val'))
        run(cfg, lambda runner: runner.train())


if __name__ == '__main__':
    main()
