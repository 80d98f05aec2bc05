# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Find the video files that a user means, and say what is wrong with one."""
import glob
import os.path as osp
from pathlib import Path
from typing import List

import cv2

SUFFIXES = ('.3gp', '.avi', '.flv', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg',
            '.mpg', '.ts', '.webm', '.wmv')


def find_videos(name: str) -> List[str]:
    """Find the files that a word of the command line stands for.

    Args:
        name (str): A file, a folder (its video files, and those of folders in
            it), or a pattern such as ``'clips/*.mp4'`` or ``'**/*.avi'``.

    Returns:
        list[str]: Paths, sorted. A file is not looked at here.

    Raises:
        FileNotFoundError: If no file matches the pattern.
        ValueError: If the folder has no video file.
    """
    if osp.isdir(name):
        return _videos_in(name)
    if osp.exists(name) or not glob.has_magic(name):
        return [name]
    matches = sorted(glob.glob(name, recursive=True))
    files = [match for match in matches if not osp.isdir(match)]
    if not files:
        raise FileNotFoundError(f'no file matches {name}')
    return files


def _videos_in(folder: str) -> List[str]:
    files = sorted(map(str, Path(folder).rglob('*')))
    videos = [file for file in files if file.lower().endswith(SUFFIXES)]
    if not videos:
        raise ValueError(f'folder {folder} has no video file '
                         f'({", ".join(SUFFIXES)})')
    return videos


def check_video_file(video: str) -> None:
    """Check what can be told of a file without decoding it as a video.

    Args:
        video (str): The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is a directory, empty, an image, an AVI file that
            was cut off, or has no suffix.
    """
    if osp.isdir(video):
        raise ValueError(f'{video} is a directory; expected a video file')
    if not osp.isfile(video):
        raise FileNotFoundError(
            f'{video} does not exist; expected a video file')
    if osp.getsize(video) == 0:
        raise ValueError(f'{video} is empty; expected a video file')
    _check_riff_size(video)
    # ffmpeg would read an image as a video of one frame. Animations are one.
    if cv2.haveImageReader(video) and not video.lower().endswith('.gif'):
        raise ValueError(f'{video} is an image; expected a video file')
    if not osp.splitext(video)[1]:  # mmaction2 would look for video.mp4
        raise ValueError(f'{video} has no suffix; expected a video file '
                         'with one, such as .mp4')


def open_mp4(path: str, fps: float, width: int,
             height: int) -> cv2.VideoWriter:
    """Start an mp4 file.

    Args:
        path (str): The file.
        fps (float): Frames a second.
        width (int): Of a frame in pixels, even.
        height (int): Of a frame in pixels, even.

    Raises:
        ValueError: If that cannot be.
    """
    codec = cv2.VideoWriter_fourcc(*'mp4v')
    writer = cv2.VideoWriter(path, codec, fps, (width, height))
    if not writer.isOpened():
        raise ValueError(
            f'{path} cannot be written as an mp4 video of {width} '
            f'x {height} pixels at {fps:g} frames a second')
    return writer


def _check_riff_size(video: str) -> None:
    """Refuse an AVI file shorter than its header says.

    decord 0.6.0 ends the process by a segmentation fault when it reads one
    from memory, as MMAction2's DecordInit does.
    """
    with open(video, 'rb') as file:
        head = file.read(8)
    expected = 8 + int.from_bytes(head[4:], 'little')
    streamed = expected == 8 + 2**32 - 1  # of unknown size
    if head[:4] == b'RIFF' and not streamed and osp.getsize(video) < expected:
        raise ValueError(f'{video} is cut off: it has {osp.getsize(video)} of '
                         f'the {expected} bytes that its header says')


def undecodable(video: str) -> ValueError:
    """The error of a file that no decoder reads."""
    return ValueError(f'{video} cannot be decoded; expected a video file with '
                      'at least one whole frame, such as .mp4, .avi or .webm')
