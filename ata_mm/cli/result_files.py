# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Files of results, one entry of JSON a line, that one process writes to."""

import fcntl
import json
import os
import os.path as osp
import time
from pathlib import Path
from typing import IO

from .outputs import json_line

_POLL = 0.1  # seconds


class ResultFile:
    """File of JSON Lines to which entries are appended.

    A line that was cut when its process was killed is removed; a whole one
    that lacks its line break, as some editors save it, gets it. Lines are
    written as a whole. A context manager.

    Args:
        path (str): The file. It and its folder are created.
        wait (bool): Wait for a process that is writing to it, instead of an
            error. Defaults to False.

    Attributes:
        path (str): The file.

    Raises:
        ValueError: If another process is writing to it, or it cannot be
            created.
    """

    def __init__(self, path: str, wait: bool = False) -> None:
        self.path = path
        try:
            os.makedirs(osp.dirname(path) or '.', exist_ok=True)
            self._file = open(path, 'ab+')  # noqa: SIM115
        except OSError as error:
            raise ValueError(
                f'Expected a file for the results, but {path} cannot be '
                f'written: {error.strerror}.'
            ) from error
        lock_file(self._file, path, wait)
        self._repair()

    def __enter__(self) -> 'ResultFile':
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, entry: dict) -> None:
        """Append an entry of plain values."""
        self._file.write(f'{json_line(entry)}\n'.encode())
        self._file.flush()

    def _repair(self) -> None:
        """End the file with the line break of a whole line."""
        end = size = self._file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            self._file.seek(start)
            found = self._file.read(end - start).rfind(b'\n')
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end == size:
            return
        self._file.seek(end)
        try:
            json.loads(self._file.read())
        except ValueError:
            self._file.truncate(end)
        else:
            self._file.write(b'\n')
            self._file.flush()


def newest_metrics(work_dir: Path) -> dict[str, float]:
    """Read the metrics of the newest test in a folder.

    Args:
        work_dir (Path): The ``--work-dir`` of ``tools/test.py``.

    Returns:
        dict[str, float]: The metrics by key.
    """
    files = work_dir.glob('*/*.json')
    newest = max(files, key=lambda file: file.stat().st_mtime)
    return json.loads(newest.read_text())


def lock_file(file: IO[bytes], path: str, wait: bool = False) -> None:
    """Lock a file until it is closed.

    Args:
        file (IO): The file, open to write.
        path (str): Its name, for the message.
        wait (bool): Wait for a process that is writing to it, instead of an
            error. Defaults to False.

    Raises:
        ValueError: If another process has locked it.
    """
    # The kernel would refuse to wait to threads of two processes that wait for
    # each other's files, as if no other thread would release them.
    while not _lock(file):
        if not wait:
            raise ValueError(
                'Expected a file of this process only, but another one is '
                f'writing to {path}. Wait until it ends.'
            )
        time.sleep(_POLL)


def _lock(file: IO[bytes]) -> bool:
    """Lock a file, and return whether no other process has it locked."""
    try:
        # A lock of the process, which its children do not keep. It is lost
        # when the process closes the file, also if it had opened it twice.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # of file systems without locks
        pass
    return True
