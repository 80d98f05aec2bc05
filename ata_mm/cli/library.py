# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Lists of videos, shares of processes, and files of predictions.

The processes of a job do not talk to each other. Each takes the lines of the
list at its own positions, and appends to a file of its own; what is done is
what the files hold.
"""

import glob
import json
import os
import os.path as osp
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import NamedTuple, NoReturn

from mmengine.fileio import get_text

from .outputs import json_line
from .result_files import lock_file

# Environment variables that a launcher sets: index and number of a process,
# and its index on this machine.
_VARIABLES = dict(
    pytorch=('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    slurm=('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
)


class Process(NamedTuple):
    """A process of a job.

    Args:
        rank (int): Its index in the job. Defaults to 0.
        world_size (int): Number of processes. Defaults to 1.
        local_rank (int): Its index on this machine. Defaults to 0.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @classmethod
    def of(cls, launcher: str) -> 'Process':
        """Return this process, as a launcher numbers it.

        Args:
            launcher (str): 'none', 'pytorch' or 'slurm'.

        Raises:
            ValueError: If the launcher did not start this process.
        """
        names = _VARIABLES.get(launcher, ())
        missing = [name for name in names if name not in os.environ]
        if missing:
            raise ValueError(
                f'Expected a process of the launcher {launcher!r}, but '
                f'{missing[0]} is not set. Use tools/dist_predict.sh or '
                'tools/slurm_predict.sh.'
            )
        return cls(*(int(os.environ[name]) for name in names))

    def share(self, names: Iterable[str]) -> list[str]:
        """Return the names whose positions are those of this process."""
        own = islice(names, self.rank, None, self.world_size)
        return list(dict.fromkeys(own))

    def file(self, out: str) -> str:
        """Return the file of this process: FILE.jsonl, or FILE.rank3.jsonl."""
        if self.world_size == 1:
            return out
        stem, suffix = osp.splitext(out)
        return f'{stem}.rank{self.rank}{suffix}'


def read_list(path: str) -> Iterator[str]:
    """Read the names of videos, one a line.

    Args:
        path (str): A file, '-' for stdin, or an address of one of mmengine's
            file backends, such as ``s3://bucket/list.txt``.

    Yields:
        str: The lines that are not empty.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If there is no such backend.
    """
    if '://' in path:
        try:
            text = get_text(path)
        except KeyError as error:
            raise ValueError(
                "Expected a file, or an address of one of mmengine's file "
                f'backends, for --list, got {path}.'
            ) from error
        yield from _names(text.split('\n'))
    else:
        with open(
            0 if path == '-' else path,
            encoding='utf-8',
            errors='surrogateescape',  # names of files may have any bytes
            closefd=path != '-',
        ) as file:
            yield from _names(file)


def _names(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        name = line.rstrip('\r\n')
        name = name.lstrip('\ufeff') if number == 0 else name
        if name:
            yield name


def result_files(out: str) -> list[str]:
    """Return the existing files of a job of any number of processes.

    Args:
        out (str): FILE.jsonl.

    Returns:
        list[str]: It, and those of ranks.
    """
    stem, suffix = osp.splitext(out)
    is_ours = re.compile(rf'{re.escape(stem)}\.rank\d+{re.escape(suffix)}')
    found = glob.glob(f'{glob.escape(stem)}.rank*{glob.escape(suffix)}')
    files = sorted(file for file in found if is_ours.fullmatch(file))
    return [file for file in (out, *files) if osp.exists(file)]


def read_results(path: str) -> Iterator[dict]:
    """Read a file of predictions, without a last line that was cut.

    Args:
        path (str): The file.

    Yields:
        dict: A line.

    Raises:
        ValueError: If another line has no name of a video, or a number that
            JSON does not have.
    """
    with open(path, 'rb') as file:
        yield from _entries(file, path)


def _entries(lines: Iterable[bytes], path: str) -> Iterator[dict]:
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b'\n'):
            return
        try:
            entry = json.loads(line, parse_constant=_refuse)
            entry['video']
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                'Expected predictions, one {"video": …} a line, but line '
                f'{number} of {path} is none. Correct it, or choose '
                'another file for --out.'
            ) from None
        yield entry


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f'{constant} is no JSON')


def drop_done(names: list[str], out: str) -> list[str]:
    """Return the names without a line in any file of a job.

    Args:
        names (list[str]): Names of videos.
        out (str): FILE.jsonl of the job.
    """
    left = dict.fromkeys(names)
    for path in result_files(out):
        for entry in read_results(path):
            left.pop(entry['video'], None)
    return list(left)


class Merged(NamedTuple):
    """What the files of a job hold.

    Args:
        videos (int): Number of videos.
        errors (list[str]): Those that failed.
        missing (list[str]): Names of the list that have no line.
    """

    videos: int
    errors: list[str]
    missing: list[str]


def merge(out: str, names: Iterable[str] = ()) -> Merged:
    """Merge the files of all ranks into one, with a line for each video.

    Args:
        out (str): FILE.jsonl of the job. It is replaced as a whole; those of
            the ranks are removed.
        names (Iterable[str]): The names of all videos. Defaults to none, not
            compared.

    Returns:
        Merged: What is in it.

    Raises:
        FileNotFoundError: If there is no file to merge.
        ValueError: If a process is still writing to one of them, or a line
            has no name of a video, or a number that JSON does not have.
    """
    files = result_files(out)
    if not files:
        raise FileNotFoundError(
            f'Expected predictions in {out} or in files of ranks beside it, '
            'but there are none.'
        )
    seen: set[str] = set()
    errors: list[str] = []
    partial = f'{out}.partial'
    with ExitStack() as locked:
        sources = []
        for path in files:
            source = locked.enter_context(open(path, 'rb+'))
            lock_file(source, path)
            sources.append(source)
        locked.callback(Path(partial).unlink, missing_ok=True)  # after errors
        with open(partial, 'wb') as file:
            for path, source in zip(files, sources):
                for entry in _entries(source, path):
                    if entry['video'] in seen:
                        continue
                    seen.add(entry['video'])
                    if 'error' in entry:
                        errors.append(entry['video'])
                    file.write(f'{json_line(entry)}\n'.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, out)
        for path in files:
            if path != out:
                os.remove(path)
    missing = dict.fromkeys(name for name in names if name not in seen)
    return Merged(len(seen), errors, list(missing))
