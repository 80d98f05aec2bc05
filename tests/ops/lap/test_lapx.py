# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest
import torch

from ata_mm.ops import ExactMatcher
from ata_mm.ops.lap import lapx

# The threads of the other libraries are there before and after.
COUNT = '''
import os
import torch
from ata_mm.ops.lap.lapx import pause_openmp

threads = lambda: len(os.listdir('/proc/self/task'))
torch.set_num_threads(3)
before = threads()
x = torch.ones(10**6)
torch.add(x, x)
during = threads()
paused = pause_openmp()
print(during - before, threads() - before, paused,
      torch.add(x, x).eq(2).all().item())
'''


@pytest.mark.skipif(
    lapx._gnu_openmp() is None, reason='torch has no GNU OpenMP')
def test_the_threads_end_and_start_anew():
    done = subprocess.run([sys.executable, '-c', COUNT],
                          check=True,
                          capture_output=True,
                          text=True)
    assert done.stdout.split() == ['2', '0', 'True', 'True']


def test_does_nothing_where_torch_has_another_openmp(monkeypatch):
    monkeypatch.setattr(lapx, '_gnu_openmp', lambda: None)
    assert not lapx.pause_openmp()


def test_imports_where_lapx_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'lap', None)
    spec = spec_from_file_location(f'{lapx.__name__}_alone', lapx.__file__)
    alone = module_from_spec(spec)
    spec.loader.exec_module(alone)
    similarity = torch.rand(3, 9, 9)
    assert alone.CPU_SOLVER == 'scipy'
    assert torch.equal(
        alone.solve_on_cpu(similarity), ExactMatcher('scipy')(similarity))
