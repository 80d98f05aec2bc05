# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json

import cv2
import pytest
from mmaction.registry import HOOKS
from mmengine.runner import Runner

from ata_mm.apis import load_config
from ata_mm.cli.launch import fit_workers

NAMES = ['displacement', 'in_place', 'similarity', 'time_share']


@pytest.fixture
def train(tiny_config, tmp_path):
    """Train the tiny recipe, two iterations an epoch, with the hook."""

    def _train(options=None, **hook) -> Runner:
        cfg = load_config(tiny_config, options)
        cfg.merge_from_dict(
            {'default_hooks.alignment': dict(type='AlignmentHook', **hook)}
        )
        cfg.work_dir, cfg.val_cfg = str(tmp_path), None
        cfg.val_dataloader = cfg.val_evaluator = None
        cfg.experiment_name = tmp_path.name
        fit_workers(cfg)
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner

    return _train


def scalars(runner):
    """Return the history of the values logged by the hook, by name."""
    logged = runner.message_hub.log_scalars
    return {
        key.split('/')[-1]: buffer.data[0].tolist()
        for key, buffer in logged.items()
        if '/alignment/' in key
    }


def test_logs_every_n_iterations(train):
    logged = scalars(train(interval=1))
    assert sorted(logged) == NAMES
    assert all(len(values) == 2 for values in logged.values())
    assert all(0 < share < 1 for share in logged['time_share'])


def test_logs_rejected_matches(train):
    option = 'model.backbone.temporal.min_similarity'
    assert 0 < scalars(train({option: 0.5}))['rejected'][0] <= 1


def logged_steps(tmp_path):
    """Return the iterations whose line in the log has values of the hook."""
    (log,) = tmp_path.rglob('scalars.json')
    lines = map(json.loads, log.read_text().splitlines())
    return [line['step'] for line in lines if 'alignment/similarity' in line]


def test_logs_at_the_end_of_an_epoch(train, tmp_path):
    train({'train_cfg.max_epochs': 2}, interval=20)
    assert logged_steps(tmp_path) == [2, 4]


def test_a_faster_logger_logs_each_value_once(train, tmp_path):
    logger = {'default_hooks.logger': dict(type='LoggerHook', interval=1)}
    train({'train_cfg.max_epochs': 2, **logger}, interval=20)
    assert logged_steps(tmp_path) == [2, 4]


def test_a_slower_logger_logs_the_newest_values(train, tmp_path):
    logger = {'default_hooks.logger': dict(type='LoggerHook', interval=3)}
    train({'train_dataloader.batch_size': 1, **logger}, interval=2)
    assert logged_steps(tmp_path) == [3]


def test_tensorboard_has_scalars_and_routes(train):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import (
        EventAccumulator,
    )

    backends = [dict(type='TensorboardVisBackend')]
    runner = train(
        dict(visualizer=dict(type='ActionVisualizer', vis_backends=backends))
    )
    events = EventAccumulator(f'{runner.log_dir}/vis_data').Reload()
    for name, values in scalars(runner).items():
        (event,) = events.Scalars(f'alignment/{name}')
        assert event.step == 2
        assert event.value == pytest.approx(values[0])
    (picture,) = events.Images('routes')
    assert picture.step == 2 and picture.width > 4 * 100


def test_draws_every_n_epochs(train, tmp_path):
    train({'train_cfg.max_epochs': 4}, picture_interval=2)
    names = sorted(p.name for p in tmp_path.rglob('routes_*.png'))
    assert names == ['routes_4.png', 'routes_8.png']
    picture = cv2.imread(str(next(tmp_path.rglob('routes_4.png'))))
    assert picture.std() > 10


def test_leaves_no_hook(train):
    for module in train().model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


def test_warns_of_a_model_without_ata(train, tmp_path):
    runner = train({'model.backbone.temporal.type': 'TemporalAttention'})
    (log,) = tmp_path.rglob('*.log')
    assert 'the model has no ATA' in log.read_text()
    assert not scalars(runner)


@pytest.mark.parametrize(
    'options', [dict(interval=0), dict(picture_interval=-1)]
)
def test_refuses_intervals(options):
    with pytest.raises(ValueError, match='Expected interval of 1 or more'):
        HOOKS.build(dict(type='AlignmentHook', **options))
