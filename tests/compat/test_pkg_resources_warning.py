# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import warnings

from ata_mm.compat import pkg_resources_warning

BASE = 'timesformer/timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb.py'


def test_inheriting_from_another_package_is_quiet(python, tmp_path):
    (tmp_path / 'config.py').write_text(
        f"_base_ = 'mmaction::recognition/{BASE}'"
    )
    read = 'from mmengine.config import Config; Config.fromfile'
    done = python(f'import ata_mm; {read}({str(tmp_path / "config.py")!r})')
    assert (done.returncode, done.stderr) == (0, '')


def test_without_the_module_there_is_no_need(monkeypatch):
    monkeypatch.setattr(pkg_resources_warning, 'find_spec', lambda name: None)
    assert not pkg_resources_warning.needed()


def test_second_call_changes_nothing():
    pkg_resources_warning.apply()
    before = list(warnings.filters)
    pkg_resources_warning.apply()
    assert warnings.filters == before
