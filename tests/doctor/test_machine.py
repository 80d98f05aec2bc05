# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from ata_mm.doctor import machine
from ata_mm.doctor.finding import FAULT, OK, WARNING


def only(check):
    finding, = check()
    return finding


@pytest.mark.parametrize(
    'check',
    [machine.check_decoder, machine.check_solver, machine.check_model])
def test_this_machine_is_fit(check):
    assert only(check).status == OK


def test_a_decoder_that_loses_frames_is_a_fault(monkeypatch):
    monkeypatch.setattr(machine, '_levels', lambda: np.full(5, 90.))
    assert only(machine.check_decoder).status == FAULT


def test_a_solver_that_is_not_optimal_is_a_fault(monkeypatch):

    def reverse(similarity, num_threads):
        num = similarity.shape[-1]
        return np.tile(np.arange(num)[::-1], (len(similarity), 1)).copy()

    monkeypatch.setattr('ata_mm.ops.matching.exact.solve_lapx', reverse)
    assert only(machine.check_solver).status == FAULT


def test_a_model_without_gradients_is_a_fault(monkeypatch):
    monkeypatch.setattr('torch.Tensor.isfinite', lambda self: self != self)
    finding = only(machine.check_model)
    assert finding.status == FAULT and 'no finite gradient' in finding.detail


def test_no_gpu_is_a_warning(monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    monkeypatch.setattr(machine, 'get_device', lambda: 'cpu')
    assert only(machine.check_gpu).status == WARNING


def test_a_gpu_that_torch_does_not_see_is_named(monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    monkeypatch.setattr(machine, 'get_device', lambda: 'cpu')
    monkeypatch.setattr('shutil.which', lambda name: f'/usr/bin/{name}')
    assert 'cannot use' in only(machine.check_gpu).detail
