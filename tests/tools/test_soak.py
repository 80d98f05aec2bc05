# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import importlib
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module('soak')


def samples(tool, slope, lives=2):
    """An hour of values that rise by a slope per hour within each life."""
    return {
        'training: memory, MB': [
            tool.Point(life, age, life + age, slope * age)
            for life in range(lives)
            for age in np.linspace(0, 1, 81)
        ]
    }


@pytest.mark.slow
def test_a_killed_training_goes_on_and_is_measured(run, tiny_config, tmp_path):
    work_dir = tmp_path / 'work'
    options = '--minutes', 0.05, '--kills', 1, '--interval', 1
    done = run('soak.py', tiny_config, '--work-dir', work_dir, *options)
    # The step time of a busy machine may rise within seconds.
    assert done.returncode == 0 or 'grew: ' in done.stderr, done.stderr
    rows = [line.split(' | ')[0] for line in done.stdout.splitlines()]
    for name in ('training: memory, MB', 'step, ms', 'prediction: threads'):
        assert f'| {name}' in rows
    assert '1 times killed and resumed' in done.stdout
    (work_dir / 'output_1.txt').read_text().index('resumed epoch')


@pytest.mark.parametrize(
    'option', ['--minutes=0', '--minutes=nan', '--kills=-1']
)
def test_impossible_times_are_refused(run, tiny_config, tmp_path, option):
    done = run('soak.py', tiny_config, '--work-dir', tmp_path / 'new', option)
    assert done.returncode == 2
    assert 'expected --minutes above 0' in done.stderr


def test_a_slope_is_that_within_the_lives(tool):
    points = samples(tool, 5.0)['training: memory, MB']
    for life in (points[:81], points[81:]):
        assert tool.slope(tool.floors(life)) == pytest.approx(5.0, rel=0.05)


def test_values_that_rise_and_fall_again_do_not_grow(tool):
    flat = samples(tool, 0.0)['training: memory, MB']
    # More peaks toward the end: a mean would rise by 100 an hour.
    peaks = [
        p._replace(value=200.0 * (i % 81 > 40 and i % 3))
        for i, p in enumerate(flat)
    ]
    assert not tool.report({'training: memory, MB': peaks})[1]


def test_what_grows_beyond_its_bound_is_named(tool):
    bound = tool.RESOURCES['memory, MB']
    assert not tool.report(samples(tool, 0.4 * bound))[1]
    assert tool.report(samples(tool, 0.8 * bound))[1]


def test_a_training_that_ends_by_itself_is_named(tool, tmp_path, monkeypatch):
    script = tmp_path / 'train.py'
    script.write_text('raise SystemExit(3)')
    monkeypatch.setattr(tool, 'TRAIN', script)
    options = dict(config='', work_dir=str(tmp_path), cfg_options=None)
    with pytest.raises(ValueError, match='with status 3. See .*output_0'):
        tool.Training(Namespace(**options)).start()
