# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.ops.lap import solve_lap, solve_scipy

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


def test_tensors_without_values_have_the_shape_of_the_solution():
    fake_tensor = pytest.importorskip('torch._subclasses.fake_tensor')
    with fake_tensor.FakeTensorMode():
        matching = solve_lap(torch.empty(3, 5, 5))
    assert matching.shape == (3, 5) and matching.dtype == torch.int64


def test_the_operator_solves():
    pytest.importorskip('triton')
    similarity = torch.rand(2, 6, 6)
    matching = torch.ops.ata_mm.solve_lap(similarity.to(DEVICE))
    expected = torch.from_numpy(solve_scipy(similarity.numpy()))
    assert torch.equal(matching.cpu(), expected)


def test_the_operator_is_declared_correctly():
    pytest.importorskip('triton')
    similarity = torch.rand(2, 4, 4, device=DEVICE)
    torch.library.opcheck(torch.ops.ata_mm.solve_lap.default, (similarity,))
