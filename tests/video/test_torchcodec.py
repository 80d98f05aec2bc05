# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""torchcodec, with the FFmpeg libraries of PyAV.

They have to be found when a process starts, so tests run in another one.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import av
import pytest

LIBRARIES = Path(av.__file__).parents[1] / 'av.libs'

pytestmark = pytest.mark.skipif(
    find_spec('torchcodec') is None or not LIBRARIES.is_dir(),
    reason='needs torchcodec and a wheel of PyAV',
)


def test_frames_are_those_asked_for_or_refused(tmp_path):
    for file in LIBRARIES.iterdir():
        name = re.sub(r'-\w+(\.so\.\d+).*', r'\1', file.name)
        (tmp_path / name).symlink_to(file)
    names = ('test_frame_identity.py', 'test_orientation.py')
    tests = [Path(__file__).with_name(name) for name in names]
    subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', *tests, '-k', 'torchcodec'],
        env=dict(os.environ, LD_LIBRARY_PATH=f'{tmp_path}:{LIBRARIES}'),
        check=True,  # fails without a test, too
    )
