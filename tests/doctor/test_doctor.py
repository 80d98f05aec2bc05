# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ata_mm.doctor import Finding, examine

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def doctor():
    """Run ``python -m ata_mm doctor`` where these modules are missing."""

    def doctor(*missing):
        code = ('import runpy, sys\n'
                f'sys.modules.update(dict.fromkeys({missing}))\n'
                "sys.argv = ['ata_mm', 'doctor']\n"
                "runpy.run_module('ata_mm', run_name='__main__')")
        return subprocess.run([sys.executable, '-c', code],
                              env=dict(
                                  os.environ,
                                  PYTHONPATH=str(ROOT),
                                  OMP_NUM_THREADS='1'),
                              capture_output=True,
                              text=True,
                              timeout=300)

    return doctor


@pytest.fixture(scope='module')
def fit(doctor):
    """A run on this machine as it is."""
    return doctor()


def test_a_fit_machine_has_status_0(fit):
    assert fit.returncode == 0, fit.stdout + fit.stderr
    assert 'ok      self-test: ATATimeSformer' in fit.stdout
    assert fit.stdout.splitlines()[-1].startswith('faults: 0')


def test_every_line_begins_with_its_status(fit):
    *findings, _ = fit.stdout.splitlines()
    assert {line.split()[0] for line in findings} <= {'ok', 'warning', 'fault'}


def test_a_fault_has_status_1_and_the_rest_goes_on(doctor):
    done = doctor('decord')
    assert done.returncode == 1
    assert 'fault   decoder: ModuleNotFoundError' in done.stdout
    assert 'ok      self-test' in done.stdout


@pytest.mark.parametrize('module', ['mmengine', 'scipy'])
def test_a_package_without_which_nothing_runs_is_named(doctor, module):
    done = doctor(module)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith(f"ImportError: ata_mm needs the module '{module}")
    assert "pip install '.[lite]'" in last


def test_a_check_that_breaks_is_a_fault():

    def check_fire():
        yield Finding('ok', 'smoke', 'none')
        raise OSError('too hot\nand smoky')

    assert list(examine(
        [check_fire]))[1] == ('fault', 'fire', 'OSError: too hot',
                              'reinstall the package that this error is from')
