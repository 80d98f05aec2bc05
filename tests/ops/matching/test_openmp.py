# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import subprocess
import sys

import pytest

from ata_mm.ops.matching import openmp

# The threads of the other libraries are there before and after.
COUNT = '''
import os
import torch
from ata_mm.ops.matching.openmp import pause_openmp

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
    openmp._gnu_openmp() is None, reason='torch has no GNU OpenMP')
def test_the_threads_end_and_start_anew():
    done = subprocess.run([sys.executable, '-c', COUNT],
                          check=True,
                          capture_output=True,
                          text=True)
    assert done.stdout.split() == ['2', '0', 'True', 'True']


def test_does_nothing_where_torch_has_another_openmp(monkeypatch):
    monkeypatch.setattr(openmp, '_gnu_openmp', lambda: None)
    assert not openmp.pause_openmp()
