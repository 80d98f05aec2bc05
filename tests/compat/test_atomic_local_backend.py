# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import multiprocessing
import os
import signal
import stat

import pytest
from mmengine.fileio import LocalBackend, dump, get_file_backend
from mmengine.fileio.backends import backends

from ata_mm.compat import atomic_local_backend
from ata_mm.compat.atomic_local_backend import AtomicLocalBackend


@pytest.fixture
def file(tmp_path):
    """A file with a content."""
    path = tmp_path / 'file.pkl'
    path.write_bytes(b'old')
    return path


def put_and_die(path: str) -> None:
    os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
    AtomicLocalBackend().put(b'new', path)


def test_it_is_the_local_backend_of_mmengine(tmp_path):
    assert type(get_file_backend(tmp_path)) is AtomicLocalBackend
    assert not atomic_local_backend.needed()


def test_it_is_needed_beside_the_original(monkeypatch):
    monkeypatch.setitem(backends, 'local', LocalBackend)
    assert atomic_local_backend.needed()
    atomic_local_backend.apply()
    assert backends['local'] is AtomicLocalBackend


def test_a_file_is_replaced(file):
    AtomicLocalBackend().put(b'new', file)
    assert file.read_bytes() == b'new'
    assert os.listdir(file.parent) == ['file.pkl']


def test_folders_are_created_and_text_is_encoded(tmp_path):
    path = tmp_path / 'a' / 'b.txt'
    AtomicLocalBackend().put_text('é', path)
    assert path.read_bytes() == 'é'.encode()


def test_a_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / 'usual').touch()
    AtomicLocalBackend().put(b'new', tmp_path / 'new')
    modes = [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()]
    assert modes[0] == modes[1]


def test_a_process_killed_while_writing_leaves_the_old_content(file):
    process = multiprocessing.get_context('fork').Process(
        target=put_and_die, args=(str(file),)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert file.read_bytes() == b'old'


def test_a_full_disk_is_an_error_that_names_the_file(file, full_disk):
    with full_disk(100), pytest.raises(OSError, match=str(file)):
        AtomicLocalBackend().put(b'new' * 100, file)
    assert file.read_bytes() == b'old'
    assert os.listdir(file.parent) == ['file.pkl']


def test_a_dump_is_whole_or_not_there(file, full_disk):
    with full_disk(100), pytest.raises(OSError, match=str(file)):
        dump(list(range(1000)), str(file))
    assert file.read_bytes() == b'old'


def test_the_target_of_a_link_is_replaced(file):
    link = file.with_name('link')
    link.symlink_to(file)
    AtomicLocalBackend().put(b'new', link)
    assert link.is_symlink() and file.read_bytes() == b'new'


def test_a_device_stays_a_device():
    AtomicLocalBackend().put(b'new', os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
