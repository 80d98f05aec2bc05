# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Find video files and validate them without decoding."""

import glob
import os.path as osp
from pathlib import Path
from typing import List

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


def find_videos(name: str) -> List[str]:
    """Find the video files that a command line argument names.

    Args:
        name (str): A file, a folder (searched recursively for video files),
            or a pattern such as ``'clips/*.mp4'`` or ``'**/*.avi'``.

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
    matches = sorted(glob.glob(name, recursive=True))
    files = [match for match in matches if not osp.isdir(match)]
    if not files:
        raise FileNotFoundError(
            f'Expected video files, but no file matches {name}.'
        )
    return files


def _videos_in(folder: str) -> List[str]:
    # A folder may be named like a video.
    paths = (path for path in Path(folder).rglob('*') if not path.is_dir())
    files = sorted(map(str, paths))
    videos = [file for file in files if file.lower().endswith(SUFFIXES)]
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
