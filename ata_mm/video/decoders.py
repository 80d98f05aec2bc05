# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Readers with decord, OpenCV and torchcodec.

Decoders are imported in functions: ``python -m ata_mm doctor`` has to start
without them to report what is missing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .pyav import decode_all, open_container, video_stream
from .pyav_reader import PyAVReader
from .reader import VideoError, VideoReader

if TYPE_CHECKING:
    import decord

_SAME_TIME = 1e-4  # seconds, less than between frames of any camera
_TRY_AUTO = "Use decoder='auto', which reads it if any decoder does."


class DecordReader(VideoReader):
    """Reader with decord, only for files in which it finds the frames.

    Args:
        video (str): The file.
        num_threads (int): Decoding threads; 0 for decord's choice.
            Defaults to 1.
        or_pyav (bool): Decode frames with PyAV if decord cannot. Defaults to
            False.

    Raises:
        VideoError: If decord cannot read the file.
    """

    decoder = 'decord'

    def __init__(
        self, video: str, num_threads: int = 1, or_pyav: bool = False
    ) -> None:
        super().__init__(video)
        # First, or libraries of decord, which it loads globally, would take
        # the place of PyAV's: libvpx of another version, for example.
        import av  # noqa: F401
        from decord import VideoReader as Reader

        self._or_pyav = or_pyav
        with _decord_errors(video):
            self._reader = Reader(video, num_threads=num_threads)
            self.fps = float(self._reader.get_avg_fps())
        if len(self._reader) == 0:
            raise VideoError(video, 'has no whole frame', _TRY_AUTO)

    def __len__(self) -> int:
        return len(self._reader)

    @property
    def container(self) -> 'decord.VideoReader':
        """Decord's own reader."""
        return self._reader

    @property
    def timestamps(self) -> np.ndarray:
        """Time of each frame in seconds, as the container has it, (T,)."""
        times = self._reader.get_frame_timestamp(range(len(self._reader)))
        return times[:, 0].astype(np.float64)

    def close(self) -> None:
        """Release the file."""
        self.__dict__.pop('_reader', None)
        super().close()

    def _decode(self, indices: list[int]) -> dict[int, np.ndarray]:
        try:
            return self._get_batch(indices)
        except VideoError:
            if not self._or_pyav:
                raise
        with PyAVReader(self.video) as reader:
            return dict(zip(indices, reader.frames(indices)))

    def _get_batch(self, indices: list[int]) -> dict[int, np.ndarray]:
        with _decord_errors(self.video):
            batch = self._reader.get_batch(indices).asnumpy()
        return dict(zip(indices, batch))


class OpenCVReader(VideoReader):
    """Reader with OpenCV, which reads in order from the start.

    OpenCV does not seek exactly. The frames are counted by reading the file
    once, and decoded frames before the requested ones are discarded.

    Args:
        video (str): The file.

    Raises:
        VideoError: If OpenCV cannot read the file.
    """

    decoder = 'opencv'

    def __init__(self, video: str) -> None:
        super().__init__(video)
        self._open()
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self._check_progressive()
        self._check_first_frame()
        self._number = 1
        while self._capture.grab():
            self._number += 1
        self._open()

    def __len__(self) -> int:
        return self._number

    @property
    def timestamps(self) -> np.ndarray:
        """Time of each frame in seconds, as the container has it, (T,)."""
        with PyAVReader(self.video) as reader:
            return reader.timestamps

    def close(self) -> None:
        """Release the file."""
        self._capture.release()
        super().close()

    def _check_first_frame(self) -> None:
        """Raise if OpenCV decodes nothing, or other colours."""
        whole, frame = self._capture.read()
        if not whole:
            raise VideoError(
                self.video, 'cannot be decoded by OpenCV', _TRY_AUTO
            )
        reader = PyAVReader(self.video)
        with reader:
            if reader.is_mirrored:  # it would be rotated instead
                raise VideoError(
                    self.video,
                    'is mirrored for display, which OpenCV does not do',
                    _TRY_AUTO,
                )
            expected = reader.frames([0])[0]
        frame = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        same = frame.shape == expected.shape
        if not same or cv2.absdiff(frame, expected).mean() > 16:
            raise VideoError(
                self.video, 'is not decoded correctly by OpenCV', _TRY_AUTO
            )

    def _check_progressive(self) -> None:
        """Raise if a frame is interlaced.

        OpenCV 5.0 returns the memory of an earlier picture for such a frame,
        and no error.
        """
        with open_container(self.video) as container:
            stream = video_stream(self.video, container)
            frames = decode_all(self.video, container, stream)
            if any(frame.interlaced_frame for frame in frames):
                raise VideoError(
                    self.video,
                    'is interlaced, which OpenCV cannot convert',
                    _TRY_AUTO,
                )

    def _open(self) -> None:
        self._capture = cv2.VideoCapture(self.video, cv2.CAP_FFMPEG)
        self._next = 0

    def _decode(self, indices: list[int]) -> dict[int, np.ndarray]:
        if self._next > indices[0]:
            self._open()
        decoded = {}
        for index in indices:
            while self._next <= index and self._capture.grab():
                self._next += 1
            whole, frame = self._capture.retrieve()
            if not whole:
                raise VideoError(
                    self.video, f'has no frame {index} for OpenCV', _TRY_AUTO
                )
            decoded[index] = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        return decoded


class TorchCodecReader(VideoReader):
    """Reader with torchcodec, if it is installed.

    torchcodec 0.13 returns other frames than asked for from MPEG-TS, from AVI
    with B-frames and from mp4 cut between key frames. Containers without the
    times of frames are refused; in others, the time of each frame is compared
    with that of PyAV.

    Args:
        video (str): The file.
        num_threads (int): Decoding threads; 0 for FFmpeg's choice.
            Defaults to 1.

    Raises:
        ImportError: If torchcodec or its FFmpeg is not installed.
        VideoError: If torchcodec cannot read the file.
    """

    decoder = 'torchcodec'

    def __init__(self, video: str, num_threads: int = 1) -> None:
        super().__init__(video)
        try:
            from torchcodec.decoders import VideoDecoder  # type: ignore
        except (ImportError, OSError, RuntimeError) as error:
            raise ImportError(
                "Expected torchcodec for decoder='torchcodec', but it cannot "
                f'be imported: {str(error).splitlines()[0]}. Install '
                "torchcodec and FFmpeg, or use decoder='auto'."
            ) from error
        reader = PyAVReader(video)
        with reader:
            self._times = reader.timestamps
            if not reader.has_times:
                reason = 'its frames are not numbered by times'
                raise _not_torchcodec(video, reason)
            if reader.is_mirrored:  # it would be rotated instead
                raise _not_torchcodec(video, 'it is mirrored for display')
        with _torchcodec_errors(video):
            self._reader = VideoDecoder(
                video,
                dimension_order='NHWC',
                num_ffmpeg_threads=num_threads,
                seek_mode='exact',
            )
        self.fps = float(self._reader.metadata.average_fps or 0)
        number = len(self._reader)
        if number != len(self):
            reason = f'it finds {number} of {len(self)} frames'
            raise _not_torchcodec(video, reason)

    def __len__(self) -> int:
        return len(self._times)

    @property
    def timestamps(self) -> np.ndarray:
        """Time of each frame in seconds, as the container has it, (T,)."""
        return self._times

    def _decode(self, indices: list[int]) -> dict[int, np.ndarray]:
        with _torchcodec_errors(self.video):
            batch = self._reader.get_frames_at(indices)
        shifts = batch.pts_seconds.numpy() - self._times[indices]
        if np.abs(shifts).max() > _SAME_TIME:
            reason = 'its frames have other times'
            raise _not_torchcodec(self.video, reason)
        return dict(zip(indices, batch.data.numpy()))


def _not_torchcodec(video: str, reason: str) -> VideoError:
    """Return the error for a file of which torchcodec gives other frames."""
    return VideoError(
        video, f'is not read correctly by torchcodec: {reason}', _TRY_AUTO
    )


@contextmanager
def _decord_errors(video: str) -> Iterator[None]:
    """Context manager that names the file in errors of decord."""
    from decord import DECORDError

    try:
        yield
    except (RuntimeError, DECORDError) as error:
        raise VideoError(
            video, 'cannot be decoded by decord', _TRY_AUTO
        ) from error


@contextmanager
def _torchcodec_errors(video: str) -> Iterator[None]:
    """Context manager that names the file in errors of torchcodec."""
    try:
        yield
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0]
        raise VideoError(
            video, f'cannot be decoded by torchcodec ({reason})', _TRY_AUTO
        ) from error
