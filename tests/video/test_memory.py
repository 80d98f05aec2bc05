# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Memory that is allocated and not released, by malloc's own count.

The resident size of a process is too coarse for a few hundred bytes a file,
which are gigabytes in a training of weeks.
"""

import ctypes
import gc
import sys
from pathlib import Path

import pytest

from ata_mm.video import FrameSource, open_video

sys.path.append(str(Path(__file__).parent))
from made import make_video

_FIELDS = (
    'arena',
    'ordblks',
    'smblks',
    'hblks',
    'hblkhd',
    'usmblks',
    'fsmblks',
    'uordblks',
    'fordblks',
    'keepcost',
)
FILES = 40  # of a round


class MallocInfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc."""

    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]


@pytest.fixture
def allocated():
    """Bytes that malloc has given out."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (AttributeError, TypeError, OSError):
        pytest.skip('needs mallinfo2 of glibc 2.33 or newer')
    mallinfo.restype = MallocInfo

    def count():
        gc.collect()
        info = mallinfo()
        return info.uordblks + info.hblkhd

    return count


def read(path, decoder):
    with open_video(path, decoder) as reader:
        reader.frames([3, 0, 1])


def stream(path):
    with FrameSource(path) as source:
        next(iter(source))


@pytest.mark.parametrize(
    'name, action',
    [
        ('h264.mp4', lambda path: read(path, 'decord')),
        ('h264.mp4', lambda path: read(path, 'pyav')),
        ('h264.mp4', lambda path: read(path, 'opencv')),
        ('mpeg4.avi', lambda path: read(path, 'auto')),  # by its index
        ('mpeg2.ts', lambda path: read(path, 'auto')),  # by counting
        ('h264.mp4', stream),
    ],
    ids=['decord', 'pyav', 'opencv', 'avi', 'ts', 'stream'],
)
def test_reading_part_of_a_file_keeps_no_memory(
    name, action, allocated, tmp_path
):
    path = str(make_video(tmp_path / name, frames=10))
    for _ in range(10):  # caches are filled in the first rounds
        before = allocated()
        for _ in range(FILES):
            action(path)
        growth = (allocated() - before) / FILES
        if growth < 50:
            return
    pytest.fail(f'keeps {growth:.0f} bytes of each file')
