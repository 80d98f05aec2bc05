# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Decode videos: whole files at random positions, and streams in order.

decord is imported in functions, although it is required: ``python -m ata_mm
doctor`` has to start without it to report that it is missing.
"""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Iterator, Optional

import cv2
import numpy as np

from .files import check_video_file

if TYPE_CHECKING:
    from decord import VideoReader


@contextmanager
def decoding(video: str) -> Iterator[None]:
    """Context manager that reports decoder errors with the name of the file.

    For every block that decodes a video file, such as the decoding transforms
    of a pipeline.

    Args:
        video (str): The file. It is validated before the block runs.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a video file or cannot be decoded.
    """
    check_video_file(video)
    from decord import DECORDError

    try:
        yield
    except (RuntimeError, DECORDError) as error:
        raise undecodable(video) from error


@contextmanager
def open_video(
    video: str, width: int = -1, height: int = -1, num_threads: int = 0
) -> Iterator['VideoReader']:
    """Open a video file for random access with decord.

    Args:
        video (str): The file.
        width (int): Width of the decoded frames in pixels. Defaults to -1, as
            in the file.
        height (int): Height of the decoded frames in pixels. Defaults to -1,
            as in the file.
        num_threads (int): Decoding threads. Defaults to 0, chosen by decord.

    Yields:
        decord.VideoReader: A reader with at least one frame.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a video file or cannot be decoded, now or in
            the block.
    """
    with decoding(video):
        from decord import VideoReader

        reader = VideoReader(
            video, width=width, height=height, num_threads=num_threads
        )
        if len(reader) == 0:
            raise undecodable(video)
        yield reader


def undecodable(video: str) -> ValueError:
    """Return the error for a file that cannot be decoded."""
    return ValueError(
        f'Expected a video file, but {video} cannot be decoded. '
        'Use a file with at least one complete frame, such as '
        '.mp4, .avi or .webm.'
    )


class FrameSource:
    """Iterator over the frames of a video file, a camera or a network stream.

    Frames are decoded one by one and not kept. OpenCV opens all three kinds
    of source; the frames of a file equal those of decord, which MMAction2's
    pipelines use, since both decode with FFmpeg.

    Args:
        source (str): A video file, the number of a camera ('0'), or an address
            such as ``rtsp://…``.

    Attributes:
        fps (float | None): Frames per second; None if unknown.
        num_frames (int | None): Number of frames in the header of a file; None
            for a camera or a network stream.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a video, or the camera or address does not
            respond; after the last frame, if a file has far fewer frames than
            its header declares.

    Example:
        >>> with FrameSource('clip.mp4') as frames:
        ...     for frame in frames:  # RGB, (H, W, 3), uint8
        ...         ...
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.is_file = not source.isdecimal() and '://' not in source
        if self.is_file:
            check_video_file(source)
        name = int(source) if source.isdecimal() else source
        self._capture = cv2.VideoCapture(name)
        if not self._capture.isOpened():
            if self.is_file:
                raise undecodable(source)
            raise ValueError(
                'Expected the number of a camera or the address '
                f'of a stream, but {source} does not respond.'
            )
        self.fps: Optional[float] = self._capture.get(cv2.CAP_PROP_FPS) or None
        self.num_frames: Optional[int] = None
        if self.is_file:
            self.num_frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def __enter__(self) -> 'FrameSource':
        return self

    def __exit__(self, *error: object) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[np.ndarray]:
        number = 0
        while True:
            decoded, frame = self._capture.read()
            if not decoded:
                break
            number += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        # OpenCV does not tell the end of a file from a decoding error, and
        # headers of intact files may be wrong by a few frames.
        if number < 0.9 * (self.num_frames or 0):
            raise ValueError(
                f'Expected {self.num_frames} frames in {self.source}, but '
                f'decoding ended after {number} of {self.num_frames} frames. '
                'The file is damaged.'
            )
