# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import random
import signal
import time
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from ata_mm.engine.bad_videos import (
    SHORT,
    SKIPPED,
    Journal,
    NotingPipeline,
    TooManyBadVideosError,
)
from ata_mm.video import VideoError

STEPS = [
    dict(type='VideoInit'),
    dict(type='SampleFrames', clip_len=8, frame_interval=1),
    dict(type='VideoDecode'),
]


@pytest.fixture
def new_journal(tmp_path):
    """Journals of several processes on the same files."""

    def new(allowed=1, time_limit=60.0):
        path = str(tmp_path / 'bad_videos.jsonl')
        return Journal(path, 2, allowed, time_limit)

    return new


def data(path):
    return dict(filename=str(path), label=0, start_index=0)


def test_notes_reach_other_processes_once(new_journal):
    worker, main = new_journal(), new_journal()
    worker.add(SKIPPED, 'a.mp4', 'a.mp4 is empty.')
    worker.add(SKIPPED, 'a.mp4', 'a.mp4 is empty.')
    (note,) = main.update()
    assert note == (SKIPPED, 'a.mp4', 'a.mp4 is empty.')
    assert main.update() == [] and main.is_skipped('a.mp4')


def test_a_line_that_is_half_written_is_read_later(new_journal):
    worker, main = new_journal(), new_journal()
    worker.add(SKIPPED, 'a.mp4', 'a.mp4 is empty.')
    path = Path(main.path)
    line = path.read_bytes()
    path.write_bytes(line[:-5])
    assert main.update() == []
    path.write_bytes(line)
    assert [note.video for note in main.update()] == ['a.mp4']


def test_short_videos_are_not_skipped(new_journal):
    journal = new_journal()
    journal.add(SHORT, 'a.mp4', 'a.mp4 has 3 frames.')
    assert not journal.is_skipped('a.mp4') and journal.skipped() == []


def test_a_short_video_that_cannot_be_read_is_skipped(new_journal):
    journal = new_journal()
    journal.add(SHORT, 'a.mp4', 'a.mp4 has 3 frames.')
    journal.add(SKIPPED, 'a.mp4', 'a.mp4 is damaged.')
    journal.add(SHORT, 'a.mp4', 'a.mp4 has 3 frames.')
    assert journal.is_skipped('a.mp4')


def test_a_video_skipped_after_it_was_short_reaches_other_processes(
    new_journal,
):
    worker, main = new_journal(), new_journal()
    worker.add(SHORT, 'a.mp4', 'a.mp4 has 3 frames.')
    main.update()
    worker.add(SKIPPED, 'a.mp4', 'a.mp4 is damaged.')
    assert [note.kind for note in main.update()] == [SKIPPED]
    assert main.is_skipped('a.mp4')


def test_a_video_stays_skipped_when_others_find_it_short(new_journal):
    worker, main = new_journal(), new_journal()
    main.add(SKIPPED, 'a.mp4', 'a.mp4 stops the decoder.')
    worker.add(SHORT, 'a.mp4', 'a.mp4 has 3 frames.')
    assert [note.kind for note in main.update()] == [SKIPPED]
    assert main.is_skipped('a.mp4')


def test_too_many_are_an_error_that_names_them(new_journal):
    journal = new_journal(allowed=1)
    journal.add(SKIPPED, 'a.mp4', 'a.mp4 is empty.')
    journal.check_limit()
    journal.add(SKIPPED, 'b.mp4', 'b.mp4 is empty.')
    with pytest.raises(TooManyBadVideosError, match=r'at most 1 [\s\S]*b.mp4'):
        journal.check_limit()


class Reading(Dataset):
    """Reads what never ends, in a worker."""

    def __init__(self, journal):
        self.journal = journal

    def __len__(self):
        return 2

    def __getitem__(self, index):
        with self.journal.reading(f'nämé {index}.mp4'):
            if index:
                os._exit(3)
        return index


def test_video_in_work_outlives_its_worker(new_journal):
    journal = new_journal()
    loader = DataLoader(Reading(journal), num_workers=2)
    with pytest.raises(RuntimeError, match='exited unexpectedly'):
        list(loader)
    assert [journal.last_read(n) for n in (0, 1)] == ['', 'nämé 1.mp4']


def test_reading_ends_after_the_time_limit(new_journal):
    late = pytest.raises(VideoError, match='a.mp4 was not read within 0.1 s')
    with late, new_journal(time_limit=0.1).reading('a.mp4'):
        time.sleep(5)


def test_no_alarm_is_left_after_a_video(new_journal):
    with new_journal().reading('a.mp4'):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_bad_video_is_skipped_and_noted(new_journal, tmp_path):
    (tmp_path / 'a.mp4').touch()
    journal = new_journal()
    pipeline = NotingPipeline(STEPS, journal, skip=True)
    assert pipeline(data(tmp_path / 'a.mp4')) is None
    assert 'a.mp4 is empty' in journal.skipped()[0].reason


def test_a_damaged_video_counts_though_it_is_short(
    new_journal, write_video, tmp_path
):
    path = tmp_path / 'a.mp4'
    write_video(path, num_frames=7)
    content = bytearray(path.read_bytes())
    start = content.index(b'mdat') + 4  # of the frames, up to the index
    size = content.index(b'moov') - 4 - start
    content[start : start + size] = random.Random(0).randbytes(size)
    path.write_bytes(content)
    pipeline = NotingPipeline(STEPS, new_journal(allowed=0), skip=True)
    with pytest.raises(TooManyBadVideosError, match=r'a\.mp4 cannot be dec'):
        pipeline(data(path))


def test_bad_video_is_an_error_without_skipping(new_journal, tmp_path):
    (tmp_path / 'a.mp4').touch()
    pipeline = NotingPipeline(STEPS, new_journal(), skip=False)
    with pytest.raises(VideoError, match='a.mp4 is empty'):
        pipeline(data(tmp_path / 'a.mp4'))


def test_video_that_killed_another_process_is_not_read(
    new_journal, video_root
):
    path = video_root / '0.mp4'
    new_journal().add(SKIPPED, str(path), 'crashes')
    pipeline = NotingPipeline(STEPS, new_journal(), skip=True)
    assert pipeline(data(path)) is None
    assert pipeline(data(video_root / '1.mp4')) is not None


def test_short_video_is_noted_and_used(new_journal, write_video, tmp_path):
    write_video(tmp_path / 'a.mp4', num_frames=3)
    journal = new_journal()
    results = NotingPipeline(STEPS, journal, skip=True)(
        data(tmp_path / 'a.mp4')
    )
    assert len(results['imgs']) == 8
    assert 'a.mp4 has 3 frames' in next(iter(journal.notes.values())).reason
