# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Find video files and validate them without decoding."""

import glob
import os.path as osp
from pathlib import Path
from typing import List

import cv2

SUFFIXES = (
    '.3gp',
    '.avi',
    '.flv',
    '.m4v',
    '.mkv',
    '.mov',
    '.mp4',
    '.mpeg',
    '.mpg',
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
    paths = (path for path in Path(folder).rglob('*') if path.is_file())
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
        ValueError: If it is a directory, an empty file, an image, a truncated
            AVI file, or has no suffix.
    """
    if osp.isdir(video):
        raise ValueError(f'Expected a video file, but {video} is a directory.')
    if not osp.isfile(video):
        raise FileNotFoundError(
            f'Expected a video file, but {video} does not exist.'
        )
    if osp.getsize(video) == 0:
        raise ValueError(f'Expected a video file, but {video} is empty.')
    _check_riff_size(video)
    # FFmpeg reads an image as a video of one frame. Animated GIFs are videos.
    if cv2.haveImageReader(video) and not video.lower().endswith('.gif'):
        raise ValueError(f'Expected a video file, but {video} is an image.')
    # MMAction2 would append .mp4 to the name.
    if not osp.splitext(video)[1]:
        raise ValueError(
            f'Expected a video file with a suffix such as .mp4, '
            f'but {video} has no suffix.'
        )


def _check_riff_size(video: str) -> None:
    """Raise if an AVI file is shorter than its header declares.

    decord 0.6.0 crashes with a segmentation fault when it reads such a file
    from memory, as MMAction2's DecordInit does.
    """
    with open(video, 'rb') as file:
        head = file.read(8)
    expected = 8 + int.from_bytes(head[4:], 'little')
    streamed = expected == 8 + 2**32 - 1  # the size was not known
    size = osp.getsize(video)
    if head[:4] == b'RIFF' and not streamed and size < expected:
        raise ValueError(
            f'Expected a complete AVI file, but {video} is '
            f'truncated: it has {size} of the {expected} bytes '
            'that its header declares.'
        )
