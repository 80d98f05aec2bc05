# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

from ata_mm import compat

import numpy as np
import pytest
from packaging.requirements import Requirement

from ata_mm.cli import doctor
from ata_mm.cli.doctor import FAULT, OK, WARNING, Finding
from ata_mm.compat import checkpoint_urls, config_scope
from ata_mm.ops import ExactMatcher

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def run_doctor():
    """Run ``python -m ata_mm doctor`` without the given modules."""

    def run_doctor(*missing):
        code = (
            'import runpy, sys\n'
            f'sys.modules.update(dict.fromkeys({missing}))\n'
            "sys.argv = ['ata_mm', 'doctor']\n"
            "runpy.run_module('ata_mm', run_name='__main__')"
        )
        return subprocess.run(
            [sys.executable, '-c', code],
            env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run_doctor


@pytest.fixture(scope='module')
def fit(run_doctor):
    """A run on this machine as it is."""
    return run_doctor()


def test_a_fit_machine_has_status_0(fit):
    assert fit.returncode == 0, fit.stdout + fit.stderr
    assert 'ok      self-test: ATATimeSformer' in fit.stdout
    assert fit.stdout.splitlines()[-1].startswith('faults: 0')


def test_every_line_begins_with_its_status(fit):
    *findings, _ = fit.stdout.splitlines()
    assert {line.split()[0] for line in findings} <= {'ok', 'warning', 'fault'}


def test_a_fault_has_status_1_and_the_rest_goes_on(run_doctor):
    done = run_doctor('decord')
    assert done.returncode == 1
    assert 'fault   decoder: ModuleNotFoundError' in done.stdout
    assert 'ok      self-test' in done.stdout


@pytest.mark.parametrize('module', ['mmengine', 'scipy'])
def test_a_package_without_which_nothing_runs_is_named(run_doctor, module):
    done = run_doctor(module)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith('ImportError: ata_mm requires the module ')
    assert f"'{module}" in last
    assert "pip install '.[lite]'" in last


def test_a_check_that_breaks_is_a_fault():

    def check_fire():
        yield Finding('ok', 'smoke', 'none')
        raise OSError('too hot\nand smoky')

    assert list(doctor.examine([check_fire]))[1] == (
        'fault',
        'fire',
        'OSError: too hot',
        'reinstall the package that raises this error',
    )


def only(check):
    (finding,) = check()
    return finding


@pytest.mark.parametrize(
    'check', [doctor.check_decoder, doctor.check_solver, doctor.check_model]
)
def test_this_machine_is_fit(check):
    assert {finding.status for finding in check()} == {OK}


def test_a_decoder_that_loses_frames_is_a_fault(monkeypatch):
    monkeypatch.setattr(doctor, '_levels', lambda: np.full(5, 90.0))
    assert {found.status for found in doctor.check_decoder()} == {FAULT}


def test_a_solver_that_is_not_optimal_is_a_fault(monkeypatch):

    class Reversed(ExactMatcher):
        def match(self, similarity, grid=None):
            matching = super().match(similarity, grid)
            return matching.flip(-1) if self.solver == 'lapx' else matching

    monkeypatch.setattr(doctor, 'ExactMatcher', Reversed)
    assert only(doctor.check_solver).status == FAULT


def test_a_model_without_gradients_is_a_fault(monkeypatch):
    monkeypatch.setattr('torch.Tensor.isfinite', lambda self: self != self)
    finding = only(doctor.check_model)
    assert finding.status == FAULT and 'no finite gradient' in finding.detail


def test_no_gpu_is_a_warning(monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    monkeypatch.setattr(doctor, 'get_device', lambda: 'cpu')
    assert only(doctor.check_gpu).status == WARNING


def test_a_gpu_that_torch_does_not_see_is_named(monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    monkeypatch.setattr(doctor, 'get_device', lambda: 'cpu')
    monkeypatch.setattr('shutil.which', lambda name: f'/usr/bin/{name}')
    assert 'cannot use' in only(doctor.check_gpu).detail


@pytest.fixture
def install(monkeypatch):
    """Replace the installed packages by these versions."""

    def install(**versions):
        monkeypatch.setattr(
            doctor,
            '_installed',
            lambda name: versions.get(name.replace('-', '_')),
        )

    return install


@pytest.fixture
def require(monkeypatch):
    """Replace the requirements by this one."""

    def require(line):
        monkeypatch.setattr(
            doctor, 'requirements', lambda: [Requirement(line)]
        )

    return require


def test_what_is_required_stands_in_setup_cfg():
    parser = ConfigParser()
    parser.read(doctor._SETUP_CFG)
    declared = parser['options']['install_requires'].split()
    assert 'torch' in {i.name for i in doctor.requirements()}
    assert len(doctor.requirements()) == len(declared)


def test_a_good_version_is_ok(install, require):
    install(torch='2.13.0+cpu')
    require('torch>=2.1')
    assert list(doctor.check_packages())[-1] == (OK, 'torch', '2.13.0+cpu', '')


def test_a_wrong_version_is_a_fault(install, require):
    install(setuptools='82.0')
    require('setuptools>=70,<81')
    found = list(doctor.check_packages())[-1]
    assert found.status == FAULT and 'is 82.0, expected' in found.detail
    assert 'pip install' in found.advice


def test_a_missing_package_is_a_fault(install, require):
    install()
    require('decord')
    assert list(doctor.check_packages())[-1] == (
        FAULT,
        'decord',
        'is not installed',
        "run `pip install 'decord'`",
    )


@pytest.mark.parametrize(
    'first, second', [('mmcv', 'mmcv_lite'), ('lap', 'lapx')]
)
def test_two_packages_in_one_folder_are_a_fault(install, first, second):
    install(**{first: '2.1.0', second: '2.1.0'})
    faults = [i for i in doctor.check_doubles() if i.status == FAULT]
    assert len(faults) == 1 and 'share one folder' in faults[0].detail


def test_the_flavour_of_mmcv_is_named(install):
    install(mmcv_lite='2.1.0', lapx='0.11')
    assert list(doctor.check_doubles()) == [
        (OK, 'mmcv', 'mmcv-lite 2.1.0', '')
    ]


def details():
    return {
        finding.subject: finding.detail for finding in doctor.check_shims()
    }


def test_a_shim_that_applies_says_why():
    assert details()['shim checkpoint_urls'].startswith(
        'applied: Read checkpoints from URLs'
    )


def test_a_shim_that_is_not_needed_is_told_apart(monkeypatch):
    monkeypatch.setattr(compat, '_applied', [checkpoint_urls])
    found = details()
    assert found['shim checkpoint_urls'].startswith('applied')
    assert found['shim config_scope'].startswith('not needed')


def test_what_a_run_decides_is_listed(monkeypatch):
    monkeypatch.setattr(
        'ata_mm.compat.cpu_distributed.get_device', lambda: 'cuda'
    )
    assert details()['shim cpu_distributed'].startswith('not needed')


def test_second_call_of_apply_reports_the_same():
    before = compat.report()
    compat.apply()
    assert compat.report() == before and (config_scope, True) in before
