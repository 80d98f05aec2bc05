# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Predictions of windows as lines of JSON and as a table."""
import csv
import json
import os
from contextlib import ExitStack
from typing import Optional, TextIO

from ata_mm.apis.stream import WindowPrediction


def window_entry(prediction: WindowPrediction, fps: float) -> dict:
    """A prediction as an entry for JSON.

    Args:
        prediction (WindowPrediction): The prediction.
        fps (float): Frames a second.

    Returns:
        dict: ``start`` and ``end`` in seconds, ``labels`` and ``scores``, the
        best first.
    """
    start, end = prediction.seconds(fps)
    return dict(
        start=round(start, 3),
        end=round(end, 3),
        labels=[label for label, _ in prediction.labels],
        scores=[score for _, score in prediction.labels])


class WindowFiles:
    """Writes ``predictions.jsonl`` and ``predictions.csv``, line by line.

    A line is written as a whole and at once, so that the files can be read at
    any time. A context manager.

    Args:
        folder (str): Where to. It is made.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._files = ExitStack()
        self._json: Optional[TextIO] = None
        self._csv: Optional[TextIO] = None

    def __enter__(self) -> 'WindowFiles':
        os.makedirs(self.folder, exist_ok=True)
        self._json = self._open('predictions.jsonl')
        self._csv = self._open('predictions.csv')
        return self

    def __exit__(self, *error) -> None:
        self._files.close()

    def write(self, entry: dict) -> None:
        """Add an entry of :func:`window_entry` to both files."""
        print(json.dumps(entry, ensure_ascii=False), file=self._json)
        ranks = range(1, len(entry['labels']) + 1)
        columns = [
            'start', 'end', *(f'{name}_{rank}' for rank in ranks
                              for name in ('label', 'score'))
        ]
        table = csv.writer(self._csv)
        if self._csv.tell() == 0:
            table.writerow(columns)
        pairs = zip(entry['labels'], entry['scores'])
        table.writerow([
            entry['start'], entry['end'],
            *(value for pair in pairs for value in pair)
        ])
        self._json.flush()
        self._csv.flush()

    def _open(self, name: str) -> TextIO:
        path = os.path.join(self.folder, name)
        return self._files.enter_context(
            open(path, 'w', encoding='utf-8', newline=''))
