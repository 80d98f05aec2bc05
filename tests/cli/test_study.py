# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json
import re
from pathlib import Path

import pytest

from ata_mm.cli import study as module
from ata_mm.cli.study import load_study, read_metrics, read_results, run_study

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
def calls(monkeypatch):
    """The tools that are called, instead of a training and a test."""
    lines = []

    def call(run, log, *command):
        lines.append(' '.join(map(str, command)))
        folder = run.folder / 'test' / '0'
        folder.mkdir(parents=True, exist_ok=True)
        (run.folder / 'last_checkpoint').write_text('epoch_2.pth')
        (folder / 'metrics.json').write_text('{"acc/top1": 0.51234}')

    monkeypatch.setattr(module, '_call', call)
    monkeypatch.setattr(module, '_make_data', lambda runs: None)
    return lines


def test_runs_are_arms_times_seeds(study):
    names = [run.name for run in study.runs]
    assert names == ['plain, seed 0', 'plain, seed 1', 'two heads, seed 5']
    assert len({run.folder for run in study.runs}) == 3


def test_options_of_arms_are_added_to_those_of_the_study(study):
    cfg = study.runs[2].cfg
    assert cfg.train_cfg.max_epochs == 2
    assert cfg.model.backbone.temporal.route_heads == 2


def test_given_seeds_replace_all_seeds(file, tmp_path):
    study = load_study(file, tmp_path, seeds=[7])
    assert [run.seed for run in study.runs] == [7, 7]


def test_smoke_options_replace_others(file, tmp_path):
    study = load_study(file, tmp_path, smoke=True)
    assert study.runs[2].cfg.train_cfg.max_epochs == 1
    assert study.runs[2].cfg.model.backbone.temporal.route_heads == 2


@pytest.mark.parametrize(
    'change, message',
    [
        (('seeds =', 'seed ='), 'got seed'),
        (('options={', 'option={'), 'arm two heads, got option'),
        (("title = 'Two arms'", ''), 'Expected title'),
        (('config =', '_config ='), 'Expected config and seeds for arm plain'),
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


def test_interrupted_training_is_resumed(study, calls, tmp_path):
    run = study.runs[0]
    run.folder.mkdir(parents=True)
    (run.folder / 'last_checkpoint').write_text('epoch_1.pth')
    result = run_study(study, tmp_path / 'results.jsonl', 1)[0]
    assert '--resume' in calls[0]
    assert '--resume' not in calls[2]
    assert result['train_seconds'] is None


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
    assert [r['seed'] for r in read_results(file, study.runs)] == [1, 5]
    assert "[plain, seed 0] RuntimeError('no disk')" in capsys.readouterr().err


def test_failed_tool_is_reported_with_the_end_of_its_log(study, tmp_path):
    script = tmp_path / 'fail.py'
    script.write_text('import sys\nsys.exit("no such config")\n')
    run = study.runs[0]
    run.folder.mkdir(parents=True)
    with pytest.raises(RuntimeError, match='no such config'):
        module._call(run, 'log.txt', script)


def test_epochs_are_shown_and_all_lines_are_logged(study, tmp_path, capsys):
    script = tmp_path / 'train.py'
    script.write_text('print("a"); print("time Epoch(val) [1]")\n')
    run = study.runs[0]
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
    test = tmp_path / 'test' / '2' / '2.json'
    test.parent.mkdir(parents=True)
    test.write_text('{"acc": 0.3}')
    assert read_metrics(tmp_path, {'top-1': 'acc'}) == {
        'metrics': {'top-1': 0.3},
        'curve': [{'epoch': e, 'top-1': e / 10} for e in (1, 2, 3)],
    }


@pytest.mark.parametrize('path', STUDIES, ids=lambda path: path.stem)
def test_studies_have_valid_configs(path, tmp_path):
    assert load_study(path, tmp_path).runs
    for run in load_study(path, tmp_path, seeds=[0], smoke=True).runs:
        assert run.cfg.train_cfg.max_epochs == 1
        for loader in ('train', 'val', 'test'):
            dataset = run.cfg[f'{loader}_dataloader'].dataset
            assert dataset.num_videos <= 64
            assert dataset.data_root.endswith('_fast')
