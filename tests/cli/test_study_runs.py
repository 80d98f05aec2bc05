# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Lock
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from ata_mm.cli import study_runs as module
from ata_mm.cli.study import load_study, read_results
from ata_mm.cli.study_runs import read_curve, read_predictions, run_study

SAMPLES = [
    dict(pred_score=torch.tensor([0.1, 0.9]), gt_label=label, speed=3.21)
    for label in torch.tensor([[1], [0]])
]


@pytest.fixture
def calls(monkeypatch):
    """The tools that are called, instead of a training and a test."""
    lines = []

    def call(run, log, *command):
        words = list(map(str, command))
        lines.append(' '.join(words))
        if words[0] == 'train.py':
            folder = run.folder / '0' / 'vis_data'
            folder.mkdir(parents=True, exist_ok=True)
            # The middle learning rate is the best.
            lr = run.options.get('optim_wrapper.optimizer.lr', 0)
            entry = {'step': 2, 'acc/top1': 1 - abs(lr - 0.002)}
            (folder / 'scalars.json').write_text(json.dumps(entry))
            (run.folder / 'last_checkpoint').write_text('epoch_2.pth')
            (run.folder / 'epoch_2.pth').touch()
            (run.folder / 'epoch_10.pth').touch()
        elif words[0] == 'measure_routes.py':
            out = words[words.index('--out') + 1]
            files = [word for word in words if word.endswith('.pth')]
            found = [
                dict(blocks=[dict(followed=len(Path(file).stem))])
                for file in files
            ]
            Path(out).write_text(json.dumps(dict(checkpoints=found)))
        else:
            folder = run.folder / 'test' / '0'
            folder.mkdir(parents=True, exist_ok=True)
            (folder / 'metrics.json').write_text('{"acc/top1": 0.51234}')
            dump = words[words.index('--dump') + 1]
            Path(dump).write_bytes(pickle.dumps(SAMPLES))

    monkeypatch.setattr(module, '_call', call)
    monkeypatch.setattr(module, '_make_data', lambda runs: None)
    # Half a second a run, of yapf.
    monkeypatch.setattr(Config, 'dump', lambda cfg, file: file.touch())
    return lines


def test_a_metric_that_no_validation_has_is_named_before_the_test(
    grid_study, calls, tmp_path, capsys
):
    study = replace(grid_study, metrics=dict(all='acc/top_1'))
    results = tmp_path / 'results.jsonl'
    with pytest.raises(SystemExit):
        run_study(study, results, 2)
    assert not results.read_text()
    assert 'validations with the metrics acc/top_1' in capsys.readouterr().err
    assert not any('test.py' in call for call in calls)


def test_runs_have_the_setting_of_the_best_validation(
    grid_study, calls, tmp_path
):
    results = run_study(grid_study, tmp_path / 'results.jsonl', 2)
    options = [r['options']['optim_wrapper.optimizer.lr'] for r in results]
    assert options == [2e-3] * 3
    assert [r['seed'] for r in results] == [0, 1, 5]


def test_trials_are_not_tested(grid_study, calls, tmp_path):
    run_study(grid_study, tmp_path / 'results.jsonl', 1)
    tested = [line for line in calls if line.startswith('test.py')]
    assert len(calls) == 6 + 2 * 3 and len(tested) == 3


def test_a_trial_is_no_run_of_the_same_seed(grid_study, calls, tmp_path):
    file = tmp_path / 'results.jsonl'
    run_study(grid_study, file, 1)
    seed = grid_study.arms[0].trials[0].seed
    arms = [replace(arm, seeds=[seed]) for arm in grid_study.arms]
    results = run_study(replace(grid_study, arms=arms), file, 1)
    assert all('metrics' in result for result in results)


def test_finished_trials_are_not_repeated(grid_study, calls, tmp_path):
    file = tmp_path / 'results.jsonl'
    run_study(grid_study, file, 1)
    del calls[:]
    run_study(grid_study, file, 1)
    assert not calls


def test_every_run_is_trained_and_tested(study, calls, tmp_path):
    results = run_study(study, tmp_path / 'results.jsonl', 2)
    assert [(r['arm'], r['seed']) for r in results] == [
        ('plain', 0),
        ('plain', 1),
        ('two heads', 5),
    ]
    assert results[0]['metrics'] == {'all': 0.5123}
    assert results[0]['metric_keys'] == {'all': 'acc/top1'}
    assert results[0]['correct'] == '10'
    assert len(calls) == 6


def test_routes_are_measured_at_the_epochs_that_were_kept(
    study, calls, tmp_path
):
    study = replace(study, routes=16)
    result = run_study(study, tmp_path / 'results.jsonl', 1)[0]
    assert result['routes'] == [
        dict(epoch=2, blocks=[dict(followed=len('epoch_2'))]),
        dict(epoch=10, blocks=[dict(followed=len('epoch_10'))]),
    ]
    assert '--videos 16' in calls[2] and '--no-information' in calls[3]


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
    file.write_text(
        file.read_text().replace("route_heads': 2", "route_heads': 3")
    )
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
    assert '[plain, seed 0] no disk' in capsys.readouterr().err


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


def test_curve_without_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / '0' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('{"acc": 0.5, "step": 1}\n{"acc": 0.6, "st')
    assert read_curve(tmp_path, {'top-1': 'acc'}) == [
        {'epoch': 1, 'top-1': 0.5}
    ]


def test_predictions_are_compared_with_labels(tmp_path):
    file = tmp_path / 'predictions.pkl'
    file.write_bytes(pickle.dumps(SAMPLES))
    found = read_predictions(file)
    speeds = [3.21, 3.21]
    assert found == dict(correct='10', labels=[1, 0], speeds=speeds)


OTHER = """
import sys
from pathlib import Path
from ata_mm.cli.result_files import lock_file

folder, results, line = sys.argv[1:]
with open(Path(folder) / 'lock', 'wb') as file:
    lock_file(file, 'lock')
    print('locked', flush=True)
    sys.stdin.readline()
    Path(results).write_text(line)
"""


def test_a_run_of_another_process_is_waited_for(
    file, calls, tmp_path, monkeypatch
):
    study = load_study(file, tmp_path / 'runs', seeds=[0], arms=['plain'])
    results = tmp_path / 'results.jsonl'
    (run,) = study.runs(results)
    run.folder.mkdir(parents=True)
    found = dict(arm=run.arm, seed=0, digest=run.digest, metrics={})
    line = json.dumps(found) + '\n'
    with subprocess.Popen(
        [sys.executable, '-c', OTHER, run.folder, results, line],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        next(other.stdout)
        with ThreadPoolExecutor() as pool:
            found = pool.submit(module._run, run, study, results)
            time.sleep(0.5)
            other.communicate('go on\n')
            found.result(20)
    assert not calls


def test_results_that_cannot_be_written_are_an_error_at_once(
    study, calls, tmp_path
):
    with pytest.raises(ValueError, match='file for the results, but'):
        run_study(study, tmp_path, 1)
    assert not calls


STUDY = """
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from ata_mm.cli.study_runs import _call, _ending_with_tools

run = SimpleNamespace(name='arm', folder=Path({folder!r}))
with _ending_with_tools(), ThreadPoolExecutor(1) as pool:
    for _ in range(3):
        pool.submit(_call, run, 'log.txt', run.folder / 'tool.py')
"""
TOOL = """
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

with open(Path(__file__).with_suffix('.started'), 'a') as file:
    file.write('.')
print('Epoch(', os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM])
def test_a_study_that_is_ended_ends_its_tools(tmp_path, signum):
    (tmp_path / 'tool.py').write_text(TOOL)
    code = STUDY.format(folder=str(tmp_path))
    with subprocess.Popen(
        [sys.executable, '-c', code], stdout=subprocess.PIPE, text=True
    ) as study:
        next(study.stdout)  # the command
        tool = int(next(study.stdout).split()[-1])
        study.send_signal(signum)
        assert study.wait(20) == 128 + signum
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # until it is reaped
            os.kill(tool, 0)
            time.sleep(0.05)
    assert (tmp_path / 'tool.started').read_text() == '.'


def test_an_impatient_user_ends_a_study_too(monkeypatch):
    """A second signal, while the first one is handled."""
    ended = []
    tool = SimpleNamespace(kill=lambda: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(module, '_TOOLS', [tool])
    monkeypatch.setattr(module, '_STARTING', Lock())
    monkeypatch.setattr(module.os, '_exit', ended.append)
    with module._ending_with_tools():
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended == [128 + signal.SIGTERM]


def test_a_tool_may_print_any_bytes(tmp_path):
    (tmp_path / 'tool.py').write_text(
        "import sys; sys.stdout.buffer.write(b'\\xff')"
    )
    run = SimpleNamespace(name='arm', folder=tmp_path)
    module._call(run, 'log.txt', str(tmp_path / 'tool.py'))
    assert (tmp_path / 'log.txt').read_text() == '\ufffd'


def test_a_user_error_is_shown_by_its_message(capsys):
    future = Future()
    future.set_exception(FileNotFoundError('Expected a checkpoint.'))
    module._report(SimpleNamespace(name='arm'), future)
    assert capsys.readouterr().err.endswith('[arm] Expected a checkpoint.\n')


def test_results_of_another_process_are_kept(study, calls, tmp_path):
    file = tmp_path / 'results.jsonl'
    other = '{"arm": "other", "seed": 0, "digest": ""}\n'
    file.write_text(f'{other}{{"arm": "cut')
    run_study(study, file, 1)
    lines = file.read_text().splitlines(keepends=True)
    assert lines[0] == other and len(lines) == 4


def test_processes_that_write_videos_inherit_no_signal_handler(
    grid_study, calls, tmp_path, monkeypatch
):
    before = signal.getsignal(signal.SIGTERM)
    found = []
    monkeypatch.setattr(
        module,
        '_make_data',
        lambda runs: found.append(signal.getsignal(signal.SIGTERM)),
    )
    run_study(grid_study, tmp_path / 'results.jsonl', 1)
    assert found == [before, before]


def test_finished_runs_need_no_videos(study, calls, tmp_path, monkeypatch):
    file = tmp_path / 'results.jsonl'
    run_study(study, file, 1)
    made = []
    monkeypatch.setattr(module, '_make_data', made.extend)
    run_study(study, file, 1)
    assert not made
