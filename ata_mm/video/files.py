# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Find video files and validate them without decoding."""

import glob
import os
import os.path as osp
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import cv2

from .containers import (
    declared_size,
    is_gif_without_end,
    is_mp4_without_index,
)
from .reader import VideoError

SUFFIXES = (
    '.3gp',
    '.avi',
    '.flv',
    '.gif',
    '.m4v',
    '.mkv',
    '.mov',
    '.mp4',
    '.mpeg',
    '.mpg',
    '.mts',
    '.ts',
    '.webm',
    '.wmv',
)


def find_videos(name: str) -> list[str]:
    """Find the video files that a command line argument names.

    Args:
        name (str): A file, a folder (searched recursively for video files
            that are not hidden, also in linked folders), or a pattern such as
            ``'clips/*.mp4'`` or ``'**/*.avi'``.

    Returns:
        list[str]: Sorted paths. Files are not opened.

    Raises:
        FileNotFoundError: If no file matches the pattern.
        ValueError: If the folder contains no video file.
    """
    if osp.isdir(name):
        return _videos_in(name)
    # A file name may contain the magic characters of a pattern.
    if osp.exists(name) or not glob.has_magic(name):
        return [name]
    files = sorted(match for match in _matches(name) if not osp.isdir(match))
    if not files:
        raise FileNotFoundError(
            f'Expected video files, but no file matches {name}.'
        )
    return files


def walk_videos(folder: str) -> Iterator[Path]:
    """Find the files below a folder that are named as videos.

    Links to folders are followed. A folder with several names is searched
    under one, so that no video is found twice and no loop is endless. What is
    hidden by a dot is left out, such as the ``._clip.mp4`` that macOS writes
    beside ``clip.mp4``.

    Args:
        folder (str): The folder.

    Yields:
        Path: A file, which may be a broken link; in no order.
    """
    for path, names in _walk(folder):
        for name in names:
            if name.lower().endswith(SUFFIXES):
                yield Path(path, name)


def _walk(folder: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder below a folder once, and its files; none hidden."""
    start = Path(folder)
    above = {*start.absolute().parents, *start.resolve().parents}
    # A link to what contains it is a loop.
    seen = set(map(_identity, above)) - {_identity(start)}
    waiting = [folder]  # links: a folder is known by its own name, if any
    for top in waiting:
        for path, folders, files in os.walk(top, onerror=_raise):
            identity = _identity(path)
            if identity in seen:
                folders.clear()
                continue
            seen.add(identity)
            folders[:] = sorted(f for f in folders if not f.startswith('.'))
            below = (osp.join(path, name) for name in folders)
            waiting += filter(osp.islink, below)
            yield path, [file for file in files if not file.startswith('.')]


def _raise(error: OSError) -> NoReturn:
    raise error  # os.walk would leave the folder out


def _identity(path: str | Path) -> tuple[int, int]:
    """Return what all names of a folder have in common."""
    stat = os.stat(path)
    return stat.st_dev, stat.st_ino


def _matches(pattern: str) -> set[str]:
    """Return what a pattern matches, as ``glob.glob(recursive=True)``.

    It searches every folder once: glob does not end where links are loops.
    """
    parts = pattern.split('/')
    if '**' not in parts:
        return set(glob.glob(pattern))
    place = parts.index('**')
    head = ''.join(f'{part}/' for part in parts[:place])
    tail = '/'.join(parts[place + 1 :]) or '*'
    matches = set()
    for root in glob.glob(head) if head else ['']:
        for path, _ in _walk(root or '.'):
            below = path if root else path[2:]
            matches |= _matches(osp.join(glob.escape(below), tail))
    return matches


def _videos_in(folder: str) -> list[str]:
    videos = sorted(map(str, walk_videos(folder)))
    if not videos:
        raise ValueError(
            f'Expected video files ({", ".join(SUFFIXES)}), but '
            f'folder {folder} has no video file.'
        )
    return videos


def check_video_file(video: str) -> None:
    """Validate a video file without decoding it.

    Args:
        video (str): The file.

    Raises:
        FileNotFoundError: If the file does not exist.
        VideoError: If it is a directory, a pipe or device, an empty file, an
            image, an mp4 file without index, or ends before what its header
            declares or before the end of a GIF.
    """
    if osp.isdir(video):
        raise VideoError(video, 'is a directory')
    if not osp.exists(video):
        raise FileNotFoundError(
            f'Expected a video file, but {video} does not exist.'
        )
    if not osp.isfile(video):  # reading a pipe would wait for a writer
        raise VideoError(
            video, 'is a pipe or a device', 'Write it to a file first.'
        )
    size = osp.getsize(video)
    if size == 0:
        raise VideoError(video, 'is empty')
    # FFmpeg reads an image as a video of one frame. Animated GIFs are videos.
    # OpenCV crashes on a name that is not UTF-8.
    is_gif = video.lower().endswith('.gif')
    if not is_gif and is_utf8(video) and cv2.haveImageReader(video):
        raise VideoError(video, 'is an image')
    declared = declared_size(video)
    if declared is not None and size < declared:
        raise VideoError(
            video,
            f'is truncated: it has {size} of the {declared} bytes that its '
            'header declares',
            'Copy it again, or leave it out.',
        )
    if is_mp4_without_index(video):
        raise VideoError(
            video,
            'has no index (moov): its recording or download was interrupted',
            'Repair it, or leave it out.',
        )
    if is_gif_without_end(video):
        raise VideoError(
            video,
            'is truncated: it lacks the byte that ends a GIF',
            'Copy it again, or leave it out.',
        )


def is_utf8(path: str) -> bool:
    """Return whether a file name is valid UTF-8, as OpenCV requires.

    Args:
        path (str): The name; Python represents other bytes by surrogates.

    Returns:
        bool: False if it has bytes that are not UTF-8.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
