# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from configparser import ConfigParser

import pytest
from packaging.requirements import Requirement

from ata_mm.doctor import packages
from ata_mm.doctor.finding import FAULT, OK
from ata_mm.doctor.packages import check_doubles, check_packages, requirements


@pytest.fixture
def install(monkeypatch):
    """Let these versions be all that is installed."""

    def install(**versions):
        monkeypatch.setattr(packages, '_installed',
                            lambda name: versions.get(name.replace('-', '_')))

    return install


@pytest.fixture
def require(monkeypatch):
    """Let this be all that is required."""

    def require(line):
        monkeypatch.setattr(packages, 'requirements',
                            lambda: [Requirement(line)])

    return require


def test_what_is_required_stands_in_setup_cfg():
    parser = ConfigParser()
    parser.read(packages._SETUP_CFG)
    declared = parser['options']['install_requires'].split()
    assert 'torch' in {i.name for i in requirements()}
    assert len(requirements()) == len(declared)


def test_a_good_version_is_ok(install, require):
    install(torch='2.13.0+cpu')
    require('torch>=2.1')
    assert list(check_packages())[-1] == (OK, 'torch', '2.13.0+cpu', '')


def test_a_wrong_version_is_a_fault(install, require):
    install(setuptools='82.0')
    require('setuptools>=70,<81')
    found = list(check_packages())[-1]
    assert found.status == FAULT and 'is 82.0, expected' in found.detail
    assert 'pip install' in found.advice


def test_a_missing_package_is_a_fault(install, require):
    install()
    require('decord')
    assert list(check_packages())[-1] == (FAULT, 'decord', 'is not installed',
                                          "run `pip install 'decord'`")


@pytest.mark.parametrize('first, second', [('mmcv', 'mmcv_lite'),
                                           ('lap', 'lapx')])
def test_two_packages_in_one_folder_are_a_fault(install, first, second):
    install(**{first: '2.1.0', second: '2.1.0'})
    faults = [i for i in check_doubles() if i.status == FAULT]
    assert len(faults) == 1 and 'share one folder' in faults[0].detail


def test_the_flavour_of_mmcv_is_named(install):
    install(mmcv_lite='2.1.0', lapx='0.11')
    assert list(check_doubles()) == [(OK, 'mmcv', 'mmcv-lite 2.1.0', '')]
