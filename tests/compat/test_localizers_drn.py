# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import sys

import ata_mm  # noqa: F401

import pytest

from ata_mm.compat import localizers_drn


def test_mmaction_models_can_be_imported(python):
    done = python('import ata_mm, mmaction.models')
    assert done.returncode == 0, done.stderr


def test_import_works_after_a_failed_one(python):
    done = python(
        'try:\n    import mmaction.models\n'
        'except ModuleNotFoundError:\n    pass\n'
        'import ata_mm, mmaction.models'
    )
    assert done.returncode == 0, done.stderr


def test_building_the_placeholder_is_an_error():
    with pytest.raises(ImportError, match='mmaction2#2714'):
        localizers_drn.DRN()


def test_second_call_changes_nothing():
    before = dict(sys.modules)
    localizers_drn.apply()
    assert not localizers_drn.needed()
    assert sys.modules == before


def test_not_needed_if_the_module_exists(python, shims, tmp_path):
    drn = tmp_path / 'mmaction' / 'models' / 'localizers' / 'drn' / 'drn.py'
    drn.parent.mkdir(parents=True)
    drn.touch()
    (tmp_path / 'mmaction' / '__init__.py').touch()
    code = 'import localizers_drn; assert not localizers_drn.needed()'
    assert python(code, shims, tmp_path).returncode == 0
