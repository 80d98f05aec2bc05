# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import subprocess
import sys
import threading
from itertools import permutations

import numpy as np
import pytest
import torch

from ata_mm.ops import ExactMatcher, neighbour_similarity
from ata_mm.ops.lap import lapx
from ata_mm.ops.matching import exact

SOLVERS = ['lapx', 'scipy']


def total(similarity, matching):
    return similarity.gather(-1, matching[..., None]).sum((-2, -1)).double()


def smooth_clip(num_frames, num, channels=32):
    """Features that change slowly, so that matches are far from trivial."""
    steps = torch.randn(2, num_frames, num, channels)
    return steps.cumsum(1)


@pytest.mark.parametrize('solver', SOLVERS)
@pytest.mark.parametrize('num', range(1, 7))
def test_best_of_all_permutations(solver, num):
    similarity = torch.rand(4, num, num)
    best = torch.stack([
        total(similarity,
              torch.tensor(p).expand(4, num))
        for p in permutations(range(num))
    ]).amax(0)
    found = total(similarity, ExactMatcher(solver)(similarity))
    torch.testing.assert_close(found, best)


@pytest.mark.parametrize('dtype',
                         [torch.float32, torch.bfloat16, torch.float16])
def test_lapx_reaches_the_optimum_of_scipy_on_196_patches(dtype):
    similarity = neighbour_similarity(smooth_clip(4, 196).to(dtype))
    fast, plain = (ExactMatcher(solver)(similarity) for solver in SOLVERS)
    torch.testing.assert_close(
        total(similarity, fast), total(similarity, plain), rtol=0, atol=1e-4)


def test_number_of_threads_does_not_change_the_matching():
    similarity = torch.rand(16, 64, 64)
    one, two = (ExactMatcher(num_threads=n)(similarity) for n in (1, 2))
    assert torch.equal(one, two)


FORK = '''
import os
import torch
from ata_mm.ops import ExactMatcher

similarity = torch.rand(4, 64, 64)
matching = ExactMatcher('lapx', num_threads=2)(similarity)
child = os.fork()
same = torch.equal(matching, ExactMatcher('lapx', num_threads=2)(similarity))
if child == 0:
    os._exit(0 if same else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), same)
'''


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork')
def test_threads_of_a_forked_process():
    done = subprocess.run([sys.executable, '-c', FORK],
                          check=True,
                          timeout=120,
                          capture_output=True,
                          text=True)
    assert done.stdout.split() == ['0', 'True']


def test_failure_in_a_thread_is_raised(monkeypatch):

    def fail_elsewhere(cost, **kwargs):
        if threading.current_thread() is threading.main_thread():
            failed.wait(60)
            return None, np.zeros(cost.shape[:2])
        failed.set()
        raise MemoryError

    failed = threading.Event()
    monkeypatch.setattr(lapx, 'lapjvr_batch', fail_elsewhere)
    with pytest.raises(MemoryError):
        ExactMatcher('lapx', num_threads=2)(torch.rand(4, 3, 3))


def test_scipy_where_lapx_is_missing(monkeypatch):
    monkeypatch.setattr(exact, 'HAS_LAPX', False)
    monkeypatch.setattr(exact, 'CPU_SOLVER', 'scipy')
    assert ExactMatcher().solver_for(torch.device('cpu'), 196) == 'scipy'
    with pytest.raises(ValueError, match='pip install lapx'):
        ExactMatcher('lapx')


@pytest.mark.parametrize('triton, num, solver', [(True, 1024, 'triton'),
                                                 (True, 1025, 'lapx'),
                                                 (False, 196, 'lapx')])
def test_solver_of_similarities_on_a_gpu(monkeypatch, caplog, triton, num,
                                         solver):
    monkeypatch.setattr(exact, 'HAS_TRITON', triton)
    exact._warn_of_fallback.cache_clear()
    device = torch.device('cuda')
    assert ExactMatcher().solver_for(device, num) == solver
    assert ExactMatcher().solver_for(device, num) == solver
    assert len(caplog.messages) == (solver == 'lapx')


def test_triton_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(exact, 'HAS_TRITON', False)
    with pytest.raises(ValueError, match='pip install triton'):
        ExactMatcher('triton')


def test_refuses_more_patches_than_it_solves():
    with pytest.raises(ValueError, match='at most 8 patches.*N = 9'):
        ExactMatcher(max_patches=8)(torch.rand(9, 9))


def test_refuses_an_unknown_solver():
    with pytest.raises(ValueError, match="solver='lapx'.*got 'hungarian'"):
        ExactMatcher('hungarian')
