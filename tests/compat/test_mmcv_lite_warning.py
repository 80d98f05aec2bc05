# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import warnings

from ata_mm.compat import mmcv_lite_warning


def test_importing_the_models_is_quiet(python):
    done = python('import ata_mm, mmaction.models')
    assert (done.returncode, done.stderr) == (0, '')


def test_full_mmcv_needs_no_filter(python, shims, tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').touch()
    (tmp_path / 'mmcv' / '_ext.so').touch()
    code = 'import mmcv_lite_warning as m; assert not m.needed()'
    assert python(code, shims, tmp_path).returncode == 0


def test_second_call_changes_nothing():
    mmcv_lite_warning.apply()
    before = list(warnings.filters)
    mmcv_lite_warning.apply()
    assert warnings.filters == before
