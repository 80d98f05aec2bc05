# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Test a recognizer: ``python tools/test.py CONFIG CHECKPOINT``."""

import argparse
from functools import partial

from ata_mm.cli.arguments import add_run_options, make_folder_of


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Test a recognizer')
    parser.add_argument('config', help='the config file')
    parser.add_argument('checkpoint', help='the trained weights')
    parser.add_argument(
        '--dump',
        metavar='FILE.pkl',
        help='write the predictions to a pickle file',
    )
    add_run_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

from mmengine.config import Config
from mmengine.runner import Runner

from ata_mm.apis.config import check_checkpoint, load_config
from ata_mm.checkpoints import check_finite_weights
from ata_mm.cli.errors import user_errors
from ata_mm.cli.launch import prepare, run
from ata_mm.engine import FiniteScoresHook


def set_dump(cfg: Config, path: str) -> None:
    """Add the metric that writes all predictions to a pickle file."""
    if not path.endswith(('.pkl', '.pickle')):
        raise ValueError(
            f'Expected a .pkl or .pickle file for --dump, got {path}.'
        )
    make_folder_of(path, '--dump')
    evaluator = cfg.get('test_evaluator') or []
    metrics = evaluator if isinstance(evaluator, list) else [evaluator]
    cfg.test_evaluator = metrics + [
        dict(type='DumpResults', out_file_path=path)
    ]


def test(runner: Runner) -> None:
    """Test a model with every weight from the checkpoint."""
    runner.load_checkpoint = partial(load_every_weight, runner)
    if not any(isinstance(hook, FiniteScoresHook) for hook in runner.hooks):
        runner.register_hook(FiniteScoresHook())  # of another runner_type
    runner.test()


def load_every_weight(runner: Runner, path: str, **options) -> dict:
    """Load a checkpoint strictly, and refuse NaN and infinity.

    Raises:
        ValueError: If the checkpoint does not fit the model, or a weight is
            not finite.
    """
    # Runner.test loads without strict: missing weights would stay random.
    options['strict'] = True
    try:
        loaded = Runner.load_checkpoint(runner, path, **options)
    except RuntimeError as error:
        raise ValueError(
            f'Expected a checkpoint of the model of the config, but {path} '
            f'does not fit the model: {error}'
        ) from error
    check_finite_weights(runner.model.state_dict(), path)
    return loaded


def main() -> None:
    """Test the checkpoint."""
    args = parse_args()
    with user_errors():
        cfg = load_config(args.config, args.cfg_options)
        check_checkpoint(args.checkpoint)
        cfg.load_from, cfg.resume = args.checkpoint, False
        if args.dump:
            set_dump(cfg, args.dump)
        prepare(cfg, args, loaders=('test',))
        run(cfg, test)


if __name__ == '__main__':
    main()
