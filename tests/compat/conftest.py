# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def python():
    """Run code in a fresh interpreter with the checkout on its path.

    The effect of a shim depends on the modules imported before it.
    """

    def run(code, *paths, command=('-c',), **env):
        path = os.pathsep.join(str(p) for p in (*paths, ROOT))
        env = dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1', **env)
        return subprocess.run(
            [sys.executable, *command, str(code)],
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture
def shims():
    """The folder of the shims, to import one without the package."""
    return ROOT / 'ata_mm' / 'compat'
