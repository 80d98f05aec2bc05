# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Write video files."""

import errno
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import cv2
import numpy as np

from .containers import declared_size, is_mp4_without_index
from .files import is_utf8
from .pyav import open_container, read_packets, video_stream
from .reader import VideoError

_MPEG4_TICKS = 2**16 - 1  # per second, at most


class VideoWriter:
    """Video file that is written frame by frame.

    A context manager: the file is complete when the block ends, also by an
    error, or it is removed if it could not be written.

    Args:
        path (str | Path): The file, such as ``'out.mp4'``, in UTF-8.
        fps (float): Frames per second. Above 65, MPEG-4 stores the nearest
            rate that it can, within 0.002 %.
        size (tuple[int, int]): Width and height of the frames in pixels, both
            even.
        codec (str): FourCC of the codec. Defaults to ``'mp4v'``, MPEG-4;
            ``'MJPG'`` codes every frame by itself.

    Raises:
        ValueError: If the file cannot be written.

    Example:
        >>> with VideoWriter('out.mp4', fps=25, size=(64, 48)) as out:
        ...     out.write(np.zeros((48, 64, 3), np.uint8))
    """

    def __init__(
        self,
        path: str | Path,
        fps: float,
        size: tuple[int, int],
        codec: str = 'mp4v',
    ) -> None:
        self.size = size
        # FFmpeg takes 'a:b.mp4' for the address of a protocol 'a'.
        self._path = os.path.join(os.curdir, path)
        self._written = 0
        if not is_utf8(self._path):
            raise ValueError(
                'Expected a file name that is valid UTF-8, which OpenCV '
                f'requires, got {str(path)!r}. Choose another name.'
            )
        # Only the FFmpeg backend: if it fails, others would write a file of
        # another format under the same name.
        with nullcontext() if codec == 'mp4v' else _silent_stderr():
            self._writer = cv2.VideoWriter(
                self._path,
                cv2.CAP_FFMPEG,
                cv2.VideoWriter.fourcc(*codec),
                _mpeg4_rate(fps) if codec == 'mp4v' else fps,
                size,
            )
        if not self._writer.isOpened():
            raise ValueError(
                f'Expected a video file that can be written, but {path} '
                f'cannot be written with codec {codec}, {size[0]} x {size[1]} '
                f'pixels at {fps:g} frames per second.'
            )

    def __enter__(self) -> 'VideoWriter':
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        with suppress(OSError) if kind else nullcontext():
            self.close()

    def write(self, frame: np.ndarray) -> None:
        """Append a frame.

        Args:
            frame (np.ndarray): RGB, (H, W, 3), uint8, of the writer's size.

        Raises:
            ValueError: If the frame has another size, which OpenCV would drop
                silently.
        """
        width, height = self.size
        if frame.shape != (height, width, 3):
            raise ValueError(
                f'Expected frames of shape ({height}, {width}, '
                f'3), got {frame.shape}.'
            )
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._written += 1

    def close(self) -> None:
        """Complete the file.

        Raises:
            OSError: If it could not be written whole, as on a full disk. It is
                removed.
        """
        if not self._writer.isOpened():
            return
        self._writer.release()
        # OpenCV does not report that writing failed.
        if os.path.isfile(self._path) and not self._is_whole():
            os.remove(self._path)
            raise OSError(
                errno.ENOSPC, 'The video cannot be written whole', self._path
            )

    def _is_whole(self) -> bool:
        if is_mp4_without_index(self._path):
            return False
        size = declared_size(self._path)
        if size is None:  # MPEG files declare none
            return _count_frames(self._path) >= self._written
        return size <= os.path.getsize(self._path)


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: float,
    codec: str = 'mp4v',
) -> None:
    """Write frames to a video file.

    Args:
        path (str | Path): The file, such as ``'out.mp4'``, in UTF-8.
        frames (Iterable[np.ndarray]): RGB, (H, W, 3), uint8, at least one, all
            of one size with even H and W.
        fps (float): Frames per second.
        codec (str): FourCC of the codec, see :class:`VideoWriter`. Defaults
            to ``'mp4v'``.

    Raises:
        OSError: If the file cannot be written whole, as on a full disk.
        ValueError: If no frame is given or the file cannot be written.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError(f'Expected at least one frame for {path}, got none.')
    height, width = first.shape[:2]
    with VideoWriter(path, fps, (width, height), codec) as out:
        out.write(first)
        for frame in frames:
            out.write(frame)


def _mpeg4_rate(fps: float) -> float:
    """Return a frame rate that MPEG-4 can store, the nearest to a given one.

    OpenCV takes a rate as a fraction of 1000ths or coarser, FFmpeg reduces it,
    and MPEG-4 has 16 bits for its numerator: 100.123 cannot be stored, 100.124
    = 25031 / 250 can.

    Args:
        fps (float): Frames per second.

    Returns:
        float: The same if it can be stored, or is far too large.
    """
    if not _MPEG4_TICKS / 1000 < fps <= _MPEG4_TICKS:
        return fps
    near = round(1000 * fps, 6)
    rates = range(int(near) - 1000, int(near) + 1001)
    fit = (n for n in rates if n // math.gcd(n, 1000) <= _MPEG4_TICKS)
    # Of two, the one with fewer digits, which OpenCV takes by itself.
    return min(fit, key=lambda n: (abs(n - near), n % 10)) / 1000


def _count_frames(path: str) -> int:
    """Return the number of coded frames, which are not decoded."""
    try:
        with open_container(path) as container:
            stream = video_stream(path, container)
            packets = read_packets(container, stream)
            return sum(packet.size > 0 for packet in packets)
    except VideoError:  # nothing was written, or less than a frame
        return 0


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Context manager that discards the output of libraries to stderr.

    FFmpeg reports for each file that mp4 stores Motion JPEG under the tag
    mp4v, and OpenCV has no setting against it.
    """
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)
