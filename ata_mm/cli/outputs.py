# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Write predictions as lines of JSON and as CSV."""

import csv
import io
import itertools
import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:  # it would import torch and MMAction2
    from ata_mm.apis.stream import WindowPrediction

Span = tuple[float, float]  # start and end in seconds


class Clock:
    """Times of the frames of a stream, from the current window on.

    Args:
        fps (float): Frames per second, for frames of unknown times.
    """

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self._number = 0
        self._spans: dict[int, Span] = {}

    def tick(self, span: Span | None = None) -> None:
        """Note the times of the next frame.

        Args:
            span (tuple[float, float], optional): Its start and end in
                seconds. Defaults to None, those of a constant frame rate.
        """
        start = self._number / self.fps
        self._spans[self._number] = span or (start, start + 1 / self.fps)
        self._number += 1

    def span(self, prediction: 'WindowPrediction') -> Span:
        """Return start and end of a window, and forget earlier frames.

        Args:
            prediction (WindowPrediction): A window, not before the last one.

        Returns:
            tuple[float, float]: Both in seconds.
        """
        for number in [n for n in self._spans if n < prediction.first]:
            del self._spans[number]
        start, _ = self._spans[prediction.first]
        return start, self._spans[prediction.last][1]


def window_entry(prediction: 'WindowPrediction', span: Span) -> dict:
    """Convert a prediction to an entry for JSON.

    Args:
        prediction (WindowPrediction): The prediction.
        span (tuple[float, float]): Start and end in seconds.

    Returns:
        dict: ``start`` and ``end`` in seconds, ``labels`` and ``scores``, best
        first.
    """
    start, end = span
    return dict(
        start=round(start, 3),
        end=round(end, 3),
        labels=[label for label, _ in prediction.labels],
        scores=[score for _, score in prediction.labels],
    )


def json_line(entry: dict) -> str:
    """Convert an entry to a line of JSON.

    Args:
        entry (dict): Of plain values.

    Returns:
        str: Valid JSON of characters that can be printed as UTF-8.

    Raises:
        ValueError: If a number is NaN or infinite, which JSON does not have.
    """
    return _as_utf8(json.dumps(entry, ensure_ascii=False, allow_nan=False))


def _as_utf8(text: str) -> str:
    """Escape bytes of a file name that are not UTF-8, surrogates in Python."""
    return text.encode('utf-8', 'backslashreplace').decode('utf-8')


def csv_cell(text: str) -> str:
    """Return a label that spreadsheets do not take for a formula.

    Args:
        text (str): The label.

    Returns:
        str: The label, with an apostrophe in front if it begins with ``=``,
        ``+``, ``-``, ``@``, a tab or a carriage return.
    """
    formula = text.startswith(('=', '+', '-', '@', '\t', '\r'))
    return f"'{text}" if formula else text


def unique_stems(videos: Sequence[str]) -> dict[str, str]:
    """Choose a name for the outputs of each video.

    Args:
        videos (Sequence[str]): Different paths; their names may be equal.

    Returns:
        dict[str, str]: The file name without suffix by video, with a number
        behind from the second video of a name on. Bytes that are not UTF-8,
        which OpenCV cannot write, are escaped.
    """
    names: dict[str, str] = {}
    used: set[str] = set()
    numbers: Counter[str] = Counter()
    for video in videos:
        stem = name = _as_utf8(Path(video).stem)
        while name in used:
            numbers[stem] += 1
            name = f'{stem}_{numbers[stem] + 1}'
        names[video] = name
        used.add(name)
    return names


def keep_outputs(folder: str, names: Sequence[str]) -> list[str]:
    """Rename the files of an earlier run, so that a restart loses nothing.

    Args:
        folder (str): Their folder.
        names (Sequence[str]): Their names.

    Returns:
        list[str]: The new paths, ``name_N.suffix`` with the first number that
        is free for all of them. Empty files are not kept.
    """
    paths = [Path(folder, name) for name in names]
    found = [path for path in paths if path.is_file() and path.stat().st_size]
    for number in itertools.count(1):
        kept = [path.with_stem(f'{path.stem}_{number}') for path in found]
        if not any(path.exists() for path in kept):
            break
    return [str(old.rename(new)) for old, new in zip(found, kept)]


class WindowFiles:
    """The files ``predictions.jsonl`` and ``predictions.csv`` of a stream.

    Each line is written at once, whole or not at all: both files can be read
    at any time. A context manager.

    Args:
        folder (str): The folder of the files. It is created.
    """

    NAMES = ('predictions.jsonl', 'predictions.csv')

    def __init__(self, folder: str) -> None:
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self._json, self._csv = map(self._open, self.NAMES)

    def __enter__(self) -> 'WindowFiles':
        return self

    def __exit__(self, *error: object) -> None:
        self._json.close()
        self._csv.close()

    def write(self, entry: dict) -> None:
        """Append an entry to both files.

        Args:
            entry (dict): As :func:`window_entry` returns it.

        Raises:
            OSError: If a file cannot be written, as on a full disk.
        """
        text = io.StringIO(newline='')
        table = csv.writer(text)
        if self._csv.tell() == 0:
            ranks = range(1, len(entry['labels']) + 1)
            titles = (
                f'{name}_{rank}'
                for rank in ranks
                for name in ('label', 'score')
            )
            table.writerow(['start', 'end', *titles])
        labels = map(csv_cell, entry['labels'])
        pairs = zip(labels, entry['scores'])
        cells = (cell for pair in pairs for cell in pair)
        table.writerow([entry['start'], entry['end'], *cells])
        _append(self._json, f'{json_line(entry)}\n')
        _append(self._csv, text.getvalue())

    def _open(self, name: str) -> BinaryIO:
        return open(os.path.join(self.folder, name), 'wb', buffering=0)


def _append(file: BinaryIO, text: str) -> None:
    """Append text to an unbuffered file, all or nothing."""
    size, rest = file.tell(), memoryview(text.encode())
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        with suppress(OSError):
            file.truncate(size)
        raise OSError(error.errno, error.strerror, file.name) from error
