# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ata_mm.ops.lap import CPU_SOLVER, solve_lap, solve_scipy
from ata_mm.ops.validation import NotFiniteError

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
SOLVERS = ['triton', 'lapx', 'scipy', None]


def skip_without(solver):
    modules = dict(triton='triton', lapx='lap')
    pytest.importorskip(modules.get(solver, 'scipy'))


def test_tensors_without_values_have_the_shape_of_the_solution():
    with FakeTensorMode():
        matching = solve_lap(torch.empty(3, 5, 5))
    assert matching.shape == (3, 5) and matching.dtype == torch.int64


@pytest.mark.parametrize('solver', SOLVERS)
def test_the_operator_solves(solver):
    skip_without(solver)
    similarity = torch.rand(2, 6, 6)
    matching = solve_lap(similarity.to(DEVICE), solver)
    expected = torch.from_numpy(solve_scipy(similarity.numpy()))
    assert torch.equal(matching.cpu(), expected)


@pytest.mark.parametrize('solver', SOLVERS)
def test_the_operator_is_declared_correctly(solver):
    skip_without(solver)
    arguments = torch.rand(2, 4, 4, device=DEVICE), solver
    torch.library.opcheck(torch.ops.ata_mm.solve_lap.default, arguments)


@pytest.mark.parametrize('solver', [CPU_SOLVER, None])
def test_errors_pass_through_the_operator(solver):
    with pytest.raises(NotFiniteError):
        solve_lap(torch.full((1, 2, 2), float('nan')), solver)


@pytest.mark.parametrize('name', ['solve_lap', 'match_pairs'])
@pytest.mark.parametrize('device', ['CPU', 'CUDA', 'MPS', 'XPU'])
def test_the_operators_run_on_every_device(name, device):
    assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(
        f'ata_mm::{name}', device
    )
