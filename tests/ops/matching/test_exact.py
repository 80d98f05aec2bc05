# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from itertools import permutations

import pytest
import torch

from ata_mm.ops import ExactMatcher, align_frames
from ata_mm.ops.lap import operator
from ata_mm.ops.matching import exact

SOLVERS = ['lapx', 'scipy']


def total(similarity, matching):
    return similarity.gather(-1, matching[..., None]).sum((-2, -1)).double()


@pytest.mark.parametrize('solver', SOLVERS)
@pytest.mark.parametrize('num', [1, 2, 3, 6])
def test_best_of_all_permutations(solver, num):
    similarity = torch.rand(4, num, num)
    best = torch.stack(
        [
            total(similarity, torch.tensor(p).expand(4, num))
            for p in permutations(range(num))
        ]
    ).amax(0)
    reached = total(similarity, ExactMatcher(solver)(similarity))
    torch.testing.assert_close(reached, best)


def test_similarities_may_be_in_half_precision():
    similarity = torch.rand(2, 9, 9).bfloat16()
    matching = ExactMatcher()(similarity)
    assert torch.equal(matching, ExactMatcher()(similarity.float()))


def test_no_frame_pair_has_no_matching():
    matching = ExactMatcher()(torch.empty(2, 0, 4, 4))
    assert matching.shape == (2, 0, 4) and matching.dtype == torch.int64


def test_scipy_solves_if_lapx_is_missing(monkeypatch):
    monkeypatch.setattr(exact, 'HAS_LAPX', False)
    monkeypatch.setattr(operator, 'CPU_SOLVER', 'scipy')
    assert ExactMatcher().solver_for(torch.device('cpu'), 196) == 'scipy'
    with pytest.raises(ValueError, match='pip install lapx'):
        ExactMatcher('lapx')


@pytest.mark.parametrize(
    'triton, num, solver',
    [(True, 1024, 'triton'), (True, 1025, 'lapx'), (False, 196, 'lapx')],
)
def test_solver_of_similarities_on_a_gpu(
    monkeypatch, caplog, triton, num, solver
):
    for module in (exact, operator):
        monkeypatch.setattr(module, 'HAS_TRITON', triton)
    exact._warn_of_fallback.cache_clear()
    device = torch.device('cuda')
    assert ExactMatcher().solver_for(device, num) == solver
    assert ExactMatcher().solver_for(device, num) == solver
    assert len(caplog.messages) == (solver == 'lapx')


def test_refuses_triton_if_it_is_missing(monkeypatch):
    monkeypatch.setattr(exact, 'HAS_TRITON', False)
    with pytest.raises(ValueError, match='pip install triton'):
        ExactMatcher('triton')


def test_refuses_more_patches_than_it_solves():
    with pytest.raises(ValueError, match='at most 8 patches.*N = 9'):
        ExactMatcher(max_patches=8)(torch.rand(9, 9))


def test_refuses_an_unknown_solver():
    with pytest.raises(ValueError, match="solver='lapx'.*got 'hungarian'"):
        ExactMatcher('hungarian')


def test_the_size_is_checked_before_similarities_are_computed(monkeypatch):
    monkeypatch.setattr('ata_mm.ops.matching.base.compare', None)
    with pytest.raises(ValueError, match='Expected at most 4 patches'):
        align_frames(torch.randn(1, 2, 5, 3), ExactMatcher(max_patches=4))
