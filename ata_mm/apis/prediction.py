# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Recognise the actions in many video files."""

import os
import signal
import sys
import warnings
from typing import Callable, Iterator, List, Optional, Sequence

import cv2
from torch.utils.data import DataLoader, Dataset

from ata_mm.engine.bad_videos import BadVideoError, Journal
from ata_mm.engine.data_loading import make_resumable
from ata_mm.engine.guarded_loader import GuardedLoader
from ata_mm.video.isolation import Outcome, attempt
from ata_mm.video.pipeline import count_views

from .recognizer import VideoRecognizer


def predict_videos(
    recognizer: VideoRecognizer,
    videos: Sequence[str],
    batch: int = 1,
    workers: int = 1,
    time_limit: float = 300.0,
) -> Iterator[Outcome]:
    """Compute the scores of many video files.

    Other processes decode the next files while the model runs. A file that
    cannot be read, kills its process or takes too long has an error instead
    of scores. Warnings of videos shorter than a clip are those of
    :meth:`VideoRecognizer.scores`.

    Args:
        recognizer (VideoRecognizer): The model and its config.
        videos (Sequence[str]): The video files.
        batch (int): Views that the model takes at a time, of one or more
            videos; all views of a video at least. Defaults to 1, one video.
        workers (int): Number of decoding processes. Defaults to 1.
        time_limit (float): Seconds to read one file. Defaults to 300.

    Yields:
        Outcome: The file, and its scores (num_classes,) on the CPU or the
        error, in the order of the files.

    Example:
        >>> for outcome in predict_videos(recognizer, files, batch=64):
        ...     print(outcome.item, recognizer.rank(outcome.get(), topk=5))
    """
    size = max(1, batch // count_views(recognizer.cfg))
    names = iter(videos)
    loader = read_videos(recognizer.read, videos, size, workers, time_limit)
    for answers in loader:
        outcomes = []
        for (sample, error, notes), name in zip(answers, names):
            for note in notes:
                warnings.warn(note, stacklevel=2)
            outcomes.append(Outcome(name, sample, error))
        yield from _score(recognizer, outcomes)


def _score(
    recognizer: VideoRecognizer, outcomes: List[Outcome]
) -> Iterator[Outcome]:
    """Replace the views of videos by their scores."""
    samples = [o.value for o in outcomes if o.error is None]
    results = iter(recognizer.score_each(samples) if samples else ())
    for outcome in outcomes:
        if outcome.error is None:
            result = next(results)
            if isinstance(result, Exception):
                outcome = outcome._replace(value=None, error=result)
            else:
                outcome = outcome._replace(value=result)
        yield outcome


def read_videos(
    read: Callable[[str], dict],
    videos: Sequence[str],
    batch_size: int,
    workers: int,
    time_limit: float,
) -> Iterator[List[tuple]]:
    """Read video files in other processes, ahead of the caller.

    Args:
        read (Callable): Returns the views of a file.
        videos (Sequence[str]): The video files.
        batch_size (int): Number of files that are returned at a time.
        workers (int): Number of processes.
        time_limit (float): Seconds to read one file.

    Yields:
        list[tuple]: What :func:`ata_mm.video.isolation.attempt` returns for
        each file of a batch, in their order.
    """
    # Workers are forked, with the notes of this process.
    journal = Journal(os.devnull, workers, sys.maxsize, time_limit)
    loader = DataLoader(
        _Files(videos, read, journal),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=_start_worker,
        multiprocessing_context='fork',  # inherits the pipeline
    )
    make_resumable(loader, seed=None)
    yield from GuardedLoader(loader, journal, skip=True)


def _start_worker(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    cv2.setNumThreads(0)


class _Files(Dataset):
    """The views of video files, or the reasons why there are none."""

    def __init__(
        self,
        videos: Sequence[str],
        read: Callable[[str], dict],
        journal: Journal,
    ) -> None:
        self.videos = videos
        self.read = read
        self.journal = journal

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> tuple:
        return attempt(self._read, self.videos[index])

    def _read(self, video: str) -> Optional[dict]:
        note = self.journal.notes.get(video)
        if note is not None:  # it has killed a process
            raise BadVideoError(note.reason)
        with self.journal.reading(video):
            return self.read(video)
