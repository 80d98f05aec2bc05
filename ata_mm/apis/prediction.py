# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Recognise the actions in many video files."""

from collections.abc import Iterator, Sequence
from itertools import islice
from math import ceil

from ata_mm.video.isolation import Outcome, Workers
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
    ahead = 1 + ceil(size / workers)  # the batch after that of the model
    with Workers(recognizer.read, workers, time_limit, ahead=ahead) as read:
        outcomes = read.imap(videos)
        while group := list(islice(outcomes, size)):
            yield from _score(recognizer, group)


def _score(
    recognizer: VideoRecognizer, outcomes: list[Outcome]
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
