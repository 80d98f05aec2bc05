# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The installation itself is what runs the tests."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_an_environment_without_pip_is_not_removed(tmp_path):
    for name in ('setup.cfg', 'constraints.txt', 'tools/setup_env.sh'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / '.venv' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\ntest "$1" = -c\n')  # no module works
    python.chmod(0o755)
    done = subprocess.run(
        ['bash', 'tools/setup_env.sh'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert 'expected pip in .venv' in done.stderr
    assert python.is_file()
