# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import importlib
import json
import os
import re
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    monkeypatch.chdir(TOOLS.parent)  # configs are named relative to it
    return importlib.import_module('quickstart')


@pytest.fixture
def finished(tool, tmp_path):
    """A run whose result was written with the config of these options."""
    run = tool.Run('ATA', 0, tmp_path, tool.FAST)
    text = tool.load_config(tool.MODELS['ATA'], tool.FAST).pretty_text
    result = {'config': text, 'acc/top1': 0.5}
    (tmp_path / 'result.json').write_text(json.dumps(result))
    return run


@pytest.fixture
def calls(tool, monkeypatch):
    """The scripts that a run calls; the first call ends it."""
    scripts = []

    def call(name, log, script, *arguments):
        scripts.append(script)
        raise SystemExit

    monkeypatch.setattr(tool, 'call', call)
    return scripts


def test_finished_run_is_not_repeated(tool, finished, calls):
    assert tool.train_and_test(finished)['acc/top1'] == 0.5
    assert not calls


def test_run_with_other_options_is_repeated(tool, finished, calls):
    with pytest.raises(SystemExit):
        tool.train_and_test(finished._replace(options={}))
    assert calls == ['tools/train.py']


@pytest.mark.parametrize('model', ['temporal attention', 'ATA', 'refined ATA'])
def test_fast_options_replace_settings_of_the_config(tool, model):
    path = tool.MODELS[model]
    plain, fast = tool.load_config(path), tool.load_config(path, tool.FAST)
    assert fast.train_cfg.max_epochs == 1 < plain.train_cfg.max_epochs
    for loader in ('train', 'val', 'test'):
        dataset = fast[f'{loader}_dataloader'].dataset
        assert dataset.data_root != plain.train_dataloader.dataset.data_root
        assert dataset.num_videos <= 64


def test_failed_tool_ends_with_the_end_of_its_log(tool, tmp_path, capsys):
    script = tmp_path / 'fail.py'
    script.write_text('import sys\nsys.exit("no such config")\n')
    with pytest.raises(SystemExit) as end:
        tool.call('ATA', tmp_path / 'log.txt', script)
    assert end.value.code == 1
    assert 'no such config' in capsys.readouterr().out


def test_epochs_are_shown_and_all_lines_are_logged(tool, tmp_path, capsys):
    script = tmp_path / 'train.py'
    script.write_text('print("a"); print("time Epoch(val) [1]")\n')
    tool.call('ATA', tmp_path / 'log.txt', script)
    printed = capsys.readouterr().out.splitlines()
    assert printed[1:] == ['[ATA] Epoch(val) [1]']
    assert (tmp_path / 'log.txt').read_text().startswith('a\n')


def test_newest_metrics_are_read(tool, tmp_path):
    for name, top1, time in (('b', 0.1, 1), ('a', 0.2, 2)):
        path = tmp_path / name / 'metrics.json'
        path.parent.mkdir()
        path.write_text(json.dumps({'acc/top1': top1}))
        os.utime(path, (time, time))
    assert tool.newest_metrics(tmp_path) == {'acc/top1': 0.2}


def test_options_become_words_of_the_command_line(tool):
    assert tool.cfg_options({}) == []
    assert tool.cfg_options({'a.b': 1}) == ['--cfg-options', 'a.b=1']


def test_table_has_the_accuracy_of_each_speed(tool, tmp_path, capsys):
    values = dict(zip(tool.ACCURACIES.values(), (0.1, 0.2, 0.3, 0.4)))
    times = dict(train_seconds=1.0, test_seconds=1.0, checkpoint='a.pth')
    runs = [tool.Run('ATA', seed, tmp_path, {}) for seed in (0, 1)]
    doubled = {key: 2 * value for key, value in values.items()}
    tool.print_results(runs, [{**values, **times}, {**doubled, **times}])
    rows = capsys.readouterr().out
    assert re.findall(
        r'\d\.\d{3}', next(r for r in rows.splitlines() if ' 0 ' in r)
    ) == ['0.100', '0.200', '0.300', '0.400']
    assert re.findall(
        r'\d\.\d{3}', next(r for r in rows.splitlines() if 'mean' in r)
    ) == ['0.150', '0.300', '0.450', '0.600']
