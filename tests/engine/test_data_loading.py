# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# /dev/shm of Docker, too small for a batch of 8 MB.
SMALL = 'mount -t tmpfs -o size=2m tmpfs /dev/shm && exec "$@"'
LOAD = """
import time, torch, ata_mm
from ata_mm.engine.data_loading import make_resumable
loader = torch.utils.data.DataLoader(
    torch.zeros(4, 2_000_000), batch_size=1, num_workers=1,
    collate_fn=list)  # as mmengine's pseudo_collate
make_resumable(loader, 0)
start = time.monotonic()
try:
    list(loader)
finally:
    print(time.monotonic() - start)
"""


def isolated(*command: str) -> list:
    """The command with a small shared memory of its own."""
    unshare = ['unshare', '--mount', '--map-root-user']
    return [*unshare, 'sh', '-c', SMALL, 'sh', *command]


@pytest.mark.skipif(
    sys.platform != 'linux'
    or subprocess.run(isolated('true'), capture_output=True).returncode != 0,
    reason='may not mount a file system',
)
def test_a_full_shared_memory_is_an_error_in_seconds():
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    done = subprocess.run(
        isolated(sys.executable, '-c', LOAD),
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert '/dev/shm has ' in done.stderr and 'num_workers' in done.stderr
    assert 'worker' in done.stderr.splitlines()[-1]
    assert float(done.stdout) < 10
