# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Open videos: files at random positions, and streams in order."""

import os
import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .containers import why_not_decord
from .decoders import DecordReader, OpenCVReader, TorchCodecReader
from .files import check_video_file, is_utf8
from .pyav import (
    decode_all,
    open_container,
    rgb_converter,
    set_threads,
    video_stream,
)
from .pyav_reader import PyAVReader
from .reader import VideoError, VideoReader

if TYPE_CHECKING:
    from av import VideoFrame

USE_VIDEO_INIT = "Use VideoInit(decoder='auto') and VideoDecode."
DECODERS = ('auto', 'decord', 'pyav', 'opencv', 'torchcodec')


def open_video(
    video: str | os.PathLike[str],
    decoder: str = 'auto',
    num_threads: int = 1,
) -> VideoReader:
    """Open a video file for random access.

    All decoders give the same frames for the same numbers, or an error.

    Args:
        video (str | PathLike): The file.
        decoder (str): ``'pyav'``, exact in every container; ``'decord'``, for
            the files in which it is right, see
            :func:`~ata_mm.video.why_not_decord`; ``'opencv'``, which reads
            from the start; ``'torchcodec'``, if it is installed. Defaults to
            ``'auto'``, decord where it is right and PyAV elsewhere.
        num_threads (int): Decoding threads; 0 for the decoder's choice.
            Defaults to 1.

    Returns:
        VideoReader: A reader with at least one frame.

    Raises:
        FileNotFoundError: If the file does not exist.
        ImportError: If the decoder is not installed.
        ValueError: If there is no such decoder.
        VideoError: If the file is not a video or cannot be decoded.
    """
    if decoder not in DECODERS:
        raise ValueError(
            f'Expected a decoder of {", ".join(DECODERS)}, got {decoder!r}.'
        )
    video = os.fspath(video)
    check_video_file(video)
    if decoder in ('auto', 'decord'):
        return _open_with_decord(video, decoder == 'auto', num_threads)
    if decoder == 'pyav':
        return PyAVReader(video, num_threads)
    if not is_utf8(video):
        raise VideoError(
            video,
            f'has a name that is not UTF-8, which {decoder} cannot open',
            "Rename it, or use decoder='auto'.",
        )
    if decoder == 'opencv':
        return OpenCVReader(video)
    return TorchCodecReader(video, num_threads)


def _open_with_decord(
    video: str, or_pyav: bool, num_threads: int
) -> VideoReader:
    """Open a file with decord if it is right there, or else with PyAV."""
    reason = why_not_decord(video)
    if not is_utf8(video):
        reason = 'its name is not UTF-8'
    if not reason:
        try:
            return DecordReader(video, num_threads, or_pyav)
        except VideoError:
            if not or_pyav:
                raise
    elif not or_pyav:
        raise VideoError(
            video,
            f'is not read correctly by decord: {reason}',
            "Use decoder='auto'.",
        )
    return PyAVReader(video, num_threads)


@contextmanager
def decoding(video: str) -> Iterator[None]:
    """Context manager that reports any error with the name of the file.

    For every block that decodes a video file, such as the decoding transforms
    of MMAction2, whose errors name neither the file nor the reason.

    Args:
        video (str): The file. It is validated before the block runs.

    Raises:
        FileNotFoundError: If the file does not exist.
        VideoError: If it is not a video file, or the block fails.
    """
    check_video_file(video)
    try:
        yield
    except VideoError:
        raise
    except Exception as error:
        PyAVReader(video).close()  # says what is wrong with the file
        raise VideoError(
            video,
            'cannot be read by the transforms of the config '
            f'({type(error).__name__}: {error}), though PyAV can',
            USE_VIDEO_INIT,
        ) from error


class FrameSource:
    """Iterator over the frames of a video file, a camera or a network stream.

    Frames are decoded one by one and not kept. The frames of a file equal
    those of :func:`open_video` in order.

    Args:
        source (str): A video file, the number of a camera ('0'), or an address
            such as ``rtsp://…``.
        is_file (bool, optional): Whether it is a file. Defaults to None, any
            but a number and an address.

    Attributes:
        fps (float | None): Frames per second; None if unknown.
        num_frames (int | None): Number of frames that a file declares; None
            if unknown.
        span (tuple[float, float] | None): Start and end of the latest frame in
            seconds, as a file has them; None if unknown.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a video, or the camera or address does not
            respond; after the last frame, if a file is damaged or has far
            fewer frames than its header declares.

    Example:
        >>> with FrameSource('clip.mp4') as frames:
        ...     for frame in frames:  # RGB, (H, W, 3), uint8
        ...         ...
    """

    def __init__(
        self, source: str | os.PathLike[str], is_file: bool | None = None
    ) -> None:
        self.source = source = os.fspath(source)
        if is_file is None:
            is_file = not source.isdecimal() and '://' not in source
        self.is_file = is_file
        self.num_frames: int | None = None
        self.span: tuple[float, float] | None = None
        self._is_read = False
        if self.is_file:
            self._open_file()
        else:
            self._open_stream()

    def __enter__(self) -> 'FrameSource':
        return self

    def __exit__(self, *error: object) -> None:
        if self.is_file:
            self._container.close()
        else:
            self._capture.release()

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._file_frames() if self.is_file else self._stream_frames()

    def _open_file(self) -> None:
        check_video_file(self.source)
        self._container = open_container(self.source)
        self._stream = video_stream(self.source, self._container)
        set_threads(self._stream, 1)  # several conceal damage otherwise
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate or 0) or None
        number = self._stream.frames
        is_avi = self._container.format.name == 'avi'
        if is_avi:  # its header counts dropped frames too
            entries = self._stream.index_entries
            number = sum(entry.size > 0 for entry in entries) or number
        # Headers of recordings that were interrupted state any number.
        if 0 < number < osp.getsize(self.source):
            self.num_frames = number
        # Times of AVI files are in decoding order.
        self._counts = is_avi and self._stream.codec_context.has_b_frames

    def _open_stream(self) -> None:
        source = self.source
        name = int(source) if source.isdecimal() else source
        self._capture = cv2.VideoCapture(name)
        if not self._capture.isOpened():
            raise ValueError(
                'Expected the number of a camera or the address '
                f'of a stream, but {source} does not respond.'
            )
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or None

    def _file_frames(self) -> Iterator[np.ndarray]:
        if self._is_read:  # from the start again
            self._container.close()
            self._open_file()
        self._is_read = True
        to_rgb, number = rgb_converter(self._stream), 0
        for frame in decode_all(self.source, self._container, self._stream):
            self.span = self._span(frame, number)
            number += 1
            yield to_rgb(frame)
        if number == 0:
            raise VideoError(self.source, 'has no whole frame')

    def _span(
        self, frame: 'VideoFrame', number: int
    ) -> tuple[float, float] | None:
        """Return start and end of a frame in seconds."""
        step = 1 / self.fps if self.fps else 0.0
        if self._counts:
            return (number * step, (number + 1) * step) if step else None
        if frame.time is None:
            return None
        if frame.duration and frame.time_base:
            step = float(frame.duration * frame.time_base)
        return frame.time, frame.time + step

    def _stream_frames(self) -> Iterator[np.ndarray]:
        while True:
            decoded, frame = self._capture.read()
            if not decoded:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
