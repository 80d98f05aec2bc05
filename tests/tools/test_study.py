# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json
from pathlib import Path

import pytest

from ata_mm.cli.study import load_study

STUDY = """
title = 'Tiny'
metrics = dict(all='acc/top1')
config = {config!r}
seeds = [0]
arms = dict(ATA=dict())
"""


@pytest.fixture
def study(tmp_path, tiny_config):
    path = tmp_path / 'tiny.py'
    path.write_text(STUDY.format(config=str(tiny_config)))
    return path


def test_study_runs_and_is_reported(run, study, tmp_path):
    options = ('--work-dir', tmp_path / 'runs')
    done = run('study.py', study, *options)
    assert done.returncode == 0, done.stderr
    plot = tmp_path / 'curves.png'
    report = run('study.py', study, *options, '--report', '--plot', plot)
    assert report.returncode == 0, report.stderr
    table = report.stdout.splitlines()
    assert table == done.stdout.splitlines()[-len(table) :]
    assert table[-1].startswith('| ATA | 0 |')
    assert plot.is_file()


def test_report_of_nothing_is_an_error(run, study, tmp_path):
    done = run('study.py', study, '--work-dir', tmp_path, '--report')
    assert done.returncode == 1
    assert done.stdout == '1 of 1 runs have no result yet.\n'
    assert 'results.jsonl, got none' in done.stderr


def test_a_metric_without_results_is_an_error(run, study, tmp_path):
    (run_,) = load_study(study, tmp_path).runs(tmp_path / 'none')
    line = dict(arm='ATA', seed=0, digest=run_.digest, metrics={'all': 0.5})
    (tmp_path / 'results.jsonl').write_text(f'{json.dumps(line)}\n')
    study.write_text(
        study.read_text().replace('dict(all=', "dict(five='acc/top5', all=")
    )
    done = run('study.py', study, '--work-dir', tmp_path, '--report')
    assert done.returncode == 1
    assert "got a line of arm 'ATA' without five" in done.stderr


def test_missing_study_is_one_line(run):
    done = run('study.py', 'nowhere.py')
    assert done.returncode == 1
    assert 'nowhere.py is not a file' in done.stderr
    assert 'Traceback' not in done.stderr


ROOT = Path(__file__).resolve().parents[2]
STUDIES = ('camera_motion', 'moving_objects')


@pytest.mark.slow
@pytest.mark.parametrize('name', STUDIES)
def test_study_of_the_repository_runs(run, name, tmp_path):
    done = run(
        'study.py',
        f'configs/studies/{name}.py',
        '--smoke',
        '--arms',
        'true motion, 2 of 4 heads',
        '--plot-routes',
        tmp_path / 'routes.png',
        '--work-dir',
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'routes.png').is_file()
    first, second = done.stdout.splitlines()[-2:]
    assert first.startswith('| true motion, 2 of 4 heads | 0 |')
    assert second.startswith('| | | | 1 |')
