# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json

import pytest
import torch
from mmaction.registry import METRICS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner

CONFIG = """
_base_ = {base!r}
custom_hooks = [dict(type='MutualInformationHook', blocks=[1])]
val_evaluator = test_evaluator = [
    dict(type='AccMetric'), dict(type='MutualInformation')]
test_dataloader = dict(
    batch_size=1, dataset=dict(ann_file={root!r} + '/three.txt'))
"""
NAME = 'mutual_information/block1/after/aligned'


@pytest.fixture(scope='module')
def config(tiny_config, tmp_path_factory):
    """The tiny config with the metric, tested on three videos."""
    root = tiny_config.parent
    lines = (root / 'list.txt').read_text().splitlines(keepends=True)
    (root / 'three.txt').write_text(''.join(lines[:3]))
    path = tmp_path_factory.mktemp('information') / 'config.py'
    path.write_text(CONFIG.format(base=str(tiny_config), root=str(root)))
    return path


@pytest.fixture
def runner(config, checkpoint, tmp_path):
    cfg = Config.fromfile(config)
    cfg.work_dir, cfg.load_from = str(tmp_path), str(checkpoint)
    for loader in (
        cfg.train_dataloader,
        cfg.val_dataloader,
        cfg.test_dataloader,
    ):
        loader.persistent_workers = False
    cfg.experiment_name = tmp_path.name
    return Runner.from_cfg(cfg)


@pytest.mark.parametrize('loop', ['val', 'test'])
def test_is_reported_beside_accuracy(runner, loop):
    metrics = getattr(runner, loop)()
    assert 'acc/top1' in metrics
    kinds = [
        (point, name)
        for point in ('embedding', 'block1/before', 'block1/after', 'final')
        for quantity in ('all_pairs', 'in_place', 'aligned')
        for name in (quantity, f'{quantity}_unrelated')
    ]
    for point, name in kinds:
        assert f'mutual_information/{point}/{name}' in metrics
    assert len([name for name in metrics if 'mutual' in name]) == len(kinds)


def test_leaves_no_hook(runner):
    runner.test()
    inputs = torch.rand(1, 3, 3, 4, 32, 32)
    (sample,) = runner.model.predict(inputs, [ActionDataSample()])
    assert 'mutual_information' not in sample
    assert not runner.model._forward_hooks


@pytest.mark.slow
def test_two_processes_report_what_one_does(
    run, runner, config, checkpoint, tmp_path
):
    alone = runner.test()  # three videos: the fourth of two pairs is padding
    done = run(
        'dist_test.sh', config, checkpoint, 2, '--work-dir', tmp_path / 'dist'
    )
    assert done.returncode == 0, done.stderr
    path = next((tmp_path / 'dist').glob('*/*.json'))
    # Both processes write this file, and the end of a longer text may remain.
    together, _ = json.JSONDecoder().raw_decode(path.read_text())
    assert together[NAME] == pytest.approx(alone[NAME], rel=1e-4)


def test_the_mean_is_over_videos():
    evaluator = Evaluator(METRICS.build(dict(type='MutualInformation')))
    evaluator.process(
        [
            dict(mutual_information={'a': 1.0}),
            dict(mutual_information={'a': 2.0}),
        ]
    )
    evaluator.process([dict(mutual_information={'a': 6.0})])
    assert evaluator.evaluate(3) == {'mutual_information/a': 3.0}


def test_a_control_is_averaged_over_the_videos_that_have_one():
    evaluator = Evaluator(METRICS.build(dict(type='MutualInformation')))
    for values in ({'a': 1.0}, {'a': 2.0, 'a_unrelated': 5.0}):
        evaluator.process([dict(mutual_information=values)])
    assert evaluator.evaluate(2) == {
        'mutual_information/a': 1.5,
        'mutual_information/a_unrelated': 5.0,
    }


def test_without_the_hook_the_error_names_it():
    evaluator = Evaluator(METRICS.build(dict(type='MutualInformation')))
    with pytest.raises(ValueError, match='MutualInformationHook.*custom_hook'):
        evaluator.process([dict(pred_score=0)])
