# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.utils.data import DataLoader, Dataset

from ata_mm.engine.bad_videos import Journal
from ata_mm.engine.guarded_loader import GuardedLoader
from ata_mm.video import VideoError


class Numbers(Dataset):
    """The numbers below 12; some kill the process that reads them."""

    def __init__(self, journal, *fatal):
        self.journal = journal
        self.fatal = fatal

    def __len__(self):
        return 12

    def __getitem__(self, index):
        self.journal.update()
        name = f'{index}.mp4'
        if self.journal.is_skipped(name):
            return -1
        with self.journal.reading(name):
            if index in self.fatal:
                os.kill(os.getpid(), signal.SIGSEGV)
        return index


@pytest.fixture
def load(tmp_path):
    """Load the numbers, one or more a batch."""

    def load(*fatal, skip=True, batch_size=1, workers=2, persistent=False):
        path = str(tmp_path / 'notes')
        journal = Journal(path, workers, 5, 60)
        loader = DataLoader(
            Numbers(journal, *fatal),
            batch_size=batch_size,
            num_workers=workers,
            persistent_workers=persistent,
        )
        return GuardedLoader(loader, journal, skip)

    return load


def numbers(loader):
    return [number for batch in loader for number in batch.tolist()]


@pytest.mark.parametrize('workers, persistent', [(0, False), (2, True)])
def test_batches_are_those_of_the_loader(load, workers, persistent):
    loader = load(workers=workers, persistent=persistent, batch_size=5)
    assert numbers(loader) == numbers(loader) == list(range(12))
    assert len(loader) == 3 and loader.batch_size == 5


@pytest.mark.parametrize('persistent', [False, True])
def test_rest_is_delivered_after_a_death(load, persistent):
    loader = load(5, persistent=persistent)
    expected = [number if number != 5 else -1 for number in range(12)]
    assert numbers(loader) == expected
    assert [note.video for note in loader.journal.skipped()] == ['5.mp4']
    assert numbers(loader) == expected


def test_each_fatal_video_is_found(load):
    loader = load(2, 3, batch_size=4)
    assert numbers(loader) == [0, 1, -1, -1, *range(4, 12)]
    videos = {note.video for note in loader.journal.skipped()}
    assert videos == {'2.mp4', '3.mp4'}


def test_death_in_validation_names_the_video(load):
    with pytest.raises(VideoError, match=r'5.mp4 stops the decoder \(SIGSEGV'):
        numbers(load(5, skip=False))


def test_other_errors_are_kept(load):
    loader = load()
    loader.journal.is_skipped = 'not callable'
    with pytest.raises(TypeError):
        numbers(loader)


def test_batches_in_any_order_are_refused(tmp_path):
    journal = Journal(str(tmp_path / 'notes'), 2, 5, 60)
    loader = DataLoader(Numbers(journal), num_workers=2, in_order=False)
    with pytest.raises(ValueError, match='Expected a data loader with in_ord'):
        GuardedLoader(loader, journal, True)


class Killed(Numbers):
    """Numbers whose reading is ended by another process, as by the kernel."""

    def __getitem__(self, index):
        self.journal.update()
        with self.journal.reading(f'{index}.mp4'):
            if index == 5:
                os.kill(os.getpid(), signal.SIGKILL)
        return index


def test_a_video_whose_worker_was_killed_is_not_skipped(tmp_path):
    journal = Journal(str(tmp_path / 'notes'), 2, 5, 60)
    loader = DataLoader(Killed(journal), num_workers=2)
    with pytest.raises(VideoError, match='killed .SIGKILL.*lack of memory'):
        numbers(GuardedLoader(loader, journal, True))
    assert not journal.skipped()


def test_a_thread_may_load(load):
    loader = load(workers=1)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(numbers, loader).result() == list(range(12))
