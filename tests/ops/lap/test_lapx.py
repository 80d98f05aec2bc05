# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import subprocess
import sys
import threading
from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import pytest
import torch

from ata_mm.ops import ExactMatcher, neighbour_similarity
from ata_mm.ops.lap import lapx, solve_lapx, solve_on_cpu, solve_scipy

# In a separate process: the threads of pytest would be counted and forked.
# The threads of other libraries are counted before and after.
PROCESS = """
import os
import torch
from ata_mm.ops.lap.lapx import pause_openmp, solve_on_cpu

def count():
    return len(os.listdir('/proc/self/task'))

torch.set_num_threads(3)
before = count()
x = torch.ones(10**6)
torch.add(x, x)
during = count()
paused = pause_openmp()
print(during - before, count() - before, paused,
      torch.add(x, x).eq(2).all().item())

similarity = torch.rand(4, 64, 64)
matching = solve_on_cpu(similarity, 'lapx', num_threads=2)
child = os.fork()
same = torch.equal(matching, solve_on_cpu(similarity, 'lapx', num_threads=2))
if child == 0:
    os._exit(0 if same else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), same)
"""

# OpenMP threads of the parent, of which the child knows, but which it lacks.
FORK = """
import os
import torch
from ata_mm.ops.lap.lapx import solve_on_cpu

torch.set_num_threads(2)
torch.ones(10**6).exp()
child = os.fork()
if child == 0:
    torch.set_num_threads(1)  # as a worker of a data loader does
    solve_on_cpu(torch.rand(4, 8, 8), 'lapx', num_threads=3)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

SERVICE = """
import threading
import torch
from ata_mm.ops.lap.lapx import solve_on_cpu

def serve():
    threading.main_thread().join()
    print(solve_on_cpu(similarity, 'lapx', num_threads=2).tolist())

similarity = torch.eye(3).repeat(4, 1, 1)
threading.Thread(target=serve).start()
"""


def printed(program):
    """Run a program in another process, and return the lines it prints."""
    done = subprocess.run(
        [sys.executable, '-c', program],
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


@pytest.fixture(scope='module')
def process():
    """Return the two lines that PROCESS prints."""
    return printed(PROCESS)


def total(similarity, matching):
    return np.take_along_axis(similarity, matching[..., None], -1).sum((1, 2))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_lapx_reaches_the_optimum_of_scipy(dtype):
    # Features that change slowly: matches are far from the identity.
    x = torch.randn(1, 4, 196, 32).cumsum(1).to(dtype)
    similarity = neighbour_similarity(x)[0].numpy()
    np.testing.assert_allclose(
        total(similarity, solve_lapx(similarity, 1)),
        total(similarity, solve_scipy(similarity)),
        atol=1e-4,
    )


@pytest.mark.parametrize('num_problems', [1, 5, 16])
def test_number_of_threads_does_not_change_the_matching(num_problems):
    similarity = np.random.rand(num_problems, 48, 48).astype(np.float32)
    one, three = (solve_lapx(similarity, n) for n in (1, 3))
    assert np.array_equal(one, three)


@pytest.mark.parametrize('solver', ['lapx', 'scipy'])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_refuses_what_is_not_finite(solver, value):
    similarity = torch.rand(2, 4, 4)
    similarity[1, 2, 3] = value
    with pytest.raises(ValueError, match='finite'):
        solve_on_cpu(similarity, solver)


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
        solve_on_cpu(torch.rand(4, 3, 3), 'lapx', num_threads=2)


@pytest.mark.skipif(
    lapx._gnu_openmp() is None, reason='torch has no GNU OpenMP'
)
def test_openmp_threads_end_and_start_again(process):
    assert process[0].split() == ['2', '0', 'True', 'True']


@pytest.mark.skipif(sys.platform != 'linux', reason='counts threads in /proc')
def test_a_forked_process_has_its_own_threads(process):
    assert process[1].split() == ['0', 'True']


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='forks')
def test_a_forked_process_waits_for_no_openmp_threads():
    assert printed(FORK) == ['0']


def test_a_thread_may_outlive_the_main_thread():
    assert printed(SERVICE) == [str([[0, 1, 2]] * 4)]


def test_batches_of_any_size_share_the_threads():
    lapx._thread_pool.cache_clear()
    for problems in range(2, 8):
        solve_on_cpu(torch.rand(problems, 3, 3), 'lapx', num_threads=4)
    assert lapx._thread_pool.cache_info().currsize == 1


def test_nothing_is_paused_if_torch_has_another_openmp(monkeypatch):
    monkeypatch.setattr(lapx, '_gnu_openmp', lambda: None)
    assert not lapx.pause_openmp()


def test_imports_without_lapx(monkeypatch):
    monkeypatch.setitem(sys.modules, 'lap', None)
    spec = spec_from_file_location(f'{lapx.__name__}_alone', lapx.__file__)
    alone = module_from_spec(spec)
    spec.loader.exec_module(alone)
    similarity = torch.rand(3, 9, 9)
    assert alone.CPU_SOLVER == 'scipy'
    assert torch.equal(
        alone.solve_on_cpu(similarity), ExactMatcher('scipy')(similarity)
    )
