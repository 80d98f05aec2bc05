# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from ata_mm import compat

from ata_mm.compat import checkpoint_urls, config_scope
from ata_mm.doctor.shims import check_shims


def details():
    return {finding.subject: finding.detail for finding in check_shims()}


def test_a_shim_that_applies_says_why():
    assert details()['shim checkpoint_urls'].startswith(
        'applied: Read checkpoints from the net')


def test_a_shim_that_is_not_needed_is_told_apart(monkeypatch):
    monkeypatch.setattr(compat, '_applied', [checkpoint_urls])
    found = details()
    assert found['shim checkpoint_urls'].startswith('applied')
    assert found['shim config_scope'].startswith('not needed')


def test_what_a_run_decides_is_listed(monkeypatch):
    monkeypatch.setattr('ata_mm.compat.cpu_distributed.get_device',
                        lambda: 'cuda')
    assert details()['shim cpu_distributed'].startswith('not needed')


def test_second_call_of_apply_reports_the_same():
    before = compat.report()
    compat.apply()
    assert compat.report() == before and (config_scope, True) in before
