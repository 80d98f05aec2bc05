# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Pipelines that note bad videos in a file that all processes share."""

import faulthandler
import json
import os
import os.path as osp
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.sharedctypes import RawArray
from types import FrameType
from typing import Any, NamedTuple

from mmaction.datasets import RepeatAugDataset
from torch.utils.data import get_worker_info

from ata_mm.video import FilePipeline, VideoError
from ata_mm.video.reader import too_slow

# Exit status of a data loader worker that the watchdog ends, and the seconds
# that it waits for code that can be interrupted.
TOO_SLOW = 1
_GRACE = 5.0
_PATH_MAX = 4096  # bytes of a path on Linux, with the 0 at its end
SKIPPED, SHORT = 'skipped', 'short'


class BadVideoError(ValueError):
    """A video of a data set cannot be read."""


class TooManyBadVideosError(BadVideoError):
    """More videos of a data set cannot be read than the config allows."""


class Note(NamedTuple):
    """What was found about a video.

    Args:
        kind (str): ``SKIPPED``, or ``SHORT`` if frames are repeated.
        video (str): The file.
        reason (str): A sentence that names the file.
    """

    kind: str
    video: str
    reason: str


class Journal:
    """Notes on videos, and which video each data loader worker is reading.

    Notes are lines of JSON in one file, appended by data loader workers and
    processes of a distributed training. The video that a worker reads stands
    in memory that it shares with its parent, and so outlives the worker.

    Args:
        path (str): The file of the notes.
        workers (int): Number of the data loader's workers.
        allowed (int): Number of videos that may be skipped.
        time_limit (float): Seconds to read one video.
    """

    def __init__(
        self, path: str, workers: int, allowed: int, time_limit: float
    ) -> None:
        self.path = path
        self.allowed = allowed
        self.time_limit = time_limit
        self._size = 0  # bytes of the notes that this process has read
        self._read: dict[str, Note] = {}
        self._in_work: list[Any] = [
            RawArray('c', _PATH_MAX) for _ in range(workers)
        ]
        self.notes: dict[str, Note] = {}

    def add(self, kind: str, video: str, reason: str) -> None:
        """Append a note, once for each video.

        A short video that cannot be read gets a second one: its frames are
        sampled before they are decoded.
        """
        note = Note(kind, video, reason)
        if not _take(self.notes, note):
            return
        # One write of a short line: those of other processes do not mix in.
        with open(self.path, 'ab', 0) as file:
            file.write(f'{json.dumps(note._asdict())}\n'.encode())

    def update(self) -> list[Note]:
        """Read the notes of all processes.

        Returns:
            list[Note]: Those on videos without a note before, or that are
            skipped though they were only short before.
        """
        size = osp.getsize(self.path) if osp.exists(self.path) else 0
        if size <= self._size:
            return []
        with open(self.path, 'rb') as file:
            file.seek(self._size)
            text = file.read()
        whole = text[: text.rfind(b'\n') + 1]
        self._size += len(whole)
        notes = [Note(**json.loads(line)) for line in whole.splitlines()]
        fresh = [note for note in notes if _take(self._read, note)]
        for note in fresh:
            _take(self.notes, note)
        return fresh

    def skipped(self) -> list[Note]:
        """Return the notes on videos that are skipped."""
        return [note for note in self.notes.values() if note.kind == SKIPPED]

    def is_skipped(self, video: str) -> bool:
        """Return whether a video is known to be bad."""
        note = self.notes.get(video)
        return note is not None and note.kind == SKIPPED

    def check_limit(self) -> None:
        """Raise if too many videos are skipped.

        Raises:
            TooManyBadVideosError: With the first of them.
        """
        skipped = self.skipped()
        if len(skipped) > self.allowed:
            reasons = '\n  '.join(note.reason for note in skipped[:10])
            raise TooManyBadVideosError(
                f'Expected at most {self.allowed} videos that cannot be read, '
                f'got {len(skipped)}. Correct the annotation file '
                '(tools/check_dataset.py finds all of them), or raise the '
                f'limit of BadVideoHook in the config. See {self.path}:\n  '
                f'{reasons}'
            )

    @contextmanager
    def reading(self, video: str) -> Iterator[None]:
        """Context manager in which this process reads a video.

        Raises:
            VideoError: If the block exceeds the time limit.
        """
        self._state(video)
        try:
            with _alarm(video, self.time_limit), _watchdog(self.time_limit):
                yield
        finally:
            self._state('')

    def last_read(self, worker: int) -> str:
        """Return the video that a worker was reading when it died, or ''."""
        return os.fsdecode(self._in_work[worker].value)

    def _state(self, video: str) -> None:
        """State what this data loader worker reads."""
        worker = get_worker_info()
        if worker is not None:
            name = os.fsencode(video)[: _PATH_MAX - 1]
            self._in_work[worker.id].value = name


class NotingPipeline(FilePipeline):
    """Pipeline that states what it reads, and may skip what it cannot read.

    Args:
        transforms (Sequence[dict | Callable]): The transforms.
        journal (Journal): Takes notes on bad videos and on short ones.
        skip (bool): Return None for a video that cannot be read, so that the
            data set takes another, instead of raising the error.
    """

    def __init__(
        self,
        transforms: Sequence[dict | Callable],
        journal: Journal,
        skip: bool,
    ) -> None:
        self.journal = journal
        self.skip = skip
        super().__init__(transforms, self._note_short if skip else None)

    def __call__(self, data: dict) -> dict | None:
        """Run the transforms.

        Returns:
            dict | None: The results; None for a skipped video.

        Raises:
            FileNotFoundError, VideoError: If a video cannot be read and is
                not to be skipped.
            TooManyBadVideosError: If too many are skipped.
        """
        read = partial(super().__call__, data)
        name = data.get('filename')
        return read() if name is None else self._guard(name, read)

    def _guard(self, name: str, read: Callable[[], Any]) -> Any:
        """Return what a function makes of a video; None to skip it."""
        if self.skip and not self.journal.notes:
            self.journal.update()  # of those before a worker was restarted
        if self.skip and self.journal.is_skipped(name):
            return None
        try:
            with self.journal.reading(name):
                return read()
        except (VideoError, OSError) as error:
            self.journal.add(SKIPPED, name, str(error))
            if not self.skip:
                raise
            self.journal.check_limit()
            return None

    def _note_short(self, video: str, reason: str) -> None:
        self.journal.add(SHORT, video, f'{video} {reason}.')


class RepeatPipeline(NotingPipeline):
    """Pipeline whose transforms a ``RepeatAugDataset`` calls one by one.

    That data set samples several clips of a video by its number of frames,
    without its name, and decodes all of them at once. It never calls its
    pipeline, so :meth:`prepare_data` takes the place of its own.

    Args:
        dataset (RepeatAugDataset): The data set.
        journal (Journal): As in :class:`NotingPipeline`.
        skip (bool): As in :class:`NotingPipeline`.
    """

    def __init__(
        self, dataset: RepeatAugDataset, journal: Journal, skip: bool
    ) -> None:
        super().__init__(dataset.pipeline.transforms, journal, skip)
        self._dataset = dataset
        self._decode = FilePipeline([self.transforms[2]])
        self.transforms[2] = self._decode_video

    def prepare_data(self, idx: int) -> list[dict] | None:
        """Return the samples of a video; None for a skipped one.

        Args:
            idx (int): Index of the video.

        Raises:
            FileNotFoundError, VideoError, TooManyBadVideosError: As calls of
                :class:`NotingPipeline`.
        """
        name = self._dataset.get_data_info(idx)['filename']
        # That of the class: this method is in its place in the data set.
        prepare = type(self._dataset).prepare_data
        return self._guard(name, partial(prepare, self._dataset, idx))

    def _decode_video(self, data: dict) -> dict | None:
        if type(self.transforms[1]).__name__ == 'SampleFrames':
            self._check_length(data)  # not when it had no file name
        return self._decode(data)


def _take(notes: dict[str, Note], note: Note) -> bool:
    """Put a note among others if it says more than that on its video."""
    before = notes.get(note.video)
    says_more = before is None or (before.kind, note.kind) == (SHORT, SKIPPED)
    if says_more:
        notes[note.video] = note
    return says_more


@contextmanager
def _alarm(video: str, seconds: float) -> Iterator[None]:
    """Context manager that raises in the block after a time."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise too_slow(video, seconds)

    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _watchdog(seconds: float) -> Iterator[None]:
    """Context manager that ends a data loader worker after a time.

    Python handles a signal when a decoder returns, which it may never do.
    """
    if get_worker_info() is None:  # not the main process
        yield
        return
    with open(os.devnull, 'w') as nowhere:
        faulthandler.dump_traceback_later(
            seconds + _GRACE, exit=True, file=nowhere
        )
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
