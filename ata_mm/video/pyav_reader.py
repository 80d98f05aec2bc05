# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Exact reader with PyAV."""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from .pyav import (
    TIMED,
    check_index,
    damaged,
    decode_all,
    open_container,
    orientation,
    read_packets,
    rgb_converter,
    set_threads,
    video_stream,
)
from .reader import VideoError, VideoReader

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream


_KEPT = 2**28  # bytes of decoded frames that a reader keeps


def _decode(
    container: 'InputContainer', stream: 'VideoStream'
) -> Iterator['VideoFrame']:
    """Decode the frames of a stream from the present position."""
    for packet in read_packets(container, stream):
        yield from packet.decode()


class PyAVReader(VideoReader):
    """Reader with PyAV, exact in every container.

    Packets of mp4, Matroska and FLV files, and of AVI files without B-frames,
    have the times of their frames. The times in order number the frames. A
    frame is decoded from the key frame before it; if the decoded frames do
    not follow these times, from the start of the file. The frames of other
    containers, and of files that start between key frames, are numbered by
    decoding the file once; up to 256 MiB of them are kept for the reading that
    follows.

    Args:
        video (str): The file.
        num_threads (int): Decoding threads; 0 for one per core.
            Defaults to 1.

    Raises:
        VideoError: If the file has no video or no frame, or is damaged.
    """

    decoder = 'pyav'

    def __init__(self, video: str, num_threads: int = 1) -> None:
        super().__init__(video)
        self._num_threads = num_threads
        self._kept: list[VideoFrame] | None = None
        self._pts = np.zeros(0, np.int64)
        self._keys = np.zeros(0, np.int64)  # numbers of the key frames
        self._counts = False  # numbered in order of decoding, not by times
        self._next = -1  # number of the next decoded frame; -1 for unknown
        self._open()
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate or 0)
        if not self._has_times() or not self._read_times():
            self._count_frames()
        if len(self) == 0:
            raise VideoError(
                video, 'has no whole frame', 'It was cut off, or is no video.'
            )
        self._number = {pts: i for i, pts in enumerate(self._pts.tolist())}

    def __len__(self) -> int:
        return len(self._pts)

    @property
    def timestamps(self) -> np.ndarray:
        """Time of each frame in seconds, as the container has it, (T,)."""
        return self._pts * float(self._time_base)

    @property
    def has_times(self) -> bool:
        """Whether frames are numbered by the times of packets."""
        return not self._counts

    @property
    def is_mirrored(self) -> bool:
        """Whether frames are mirrored for display, and not only rotated."""
        return orientation(self._find(0)).is_mirrored

    def close(self) -> None:
        """Release the file."""
        self._kept = None
        self._container.close()
        super().close()

    def _open(self) -> None:
        """Open the file at its start."""
        self._container = open_container(self.video)
        self._stream = video_stream(self.video, self._container)
        self._time_base = self._stream.time_base or Fraction(1)
        set_threads(self._stream, self._num_threads)
        self._to_rgb = rgb_converter(self._stream)
        self._frames = _decode(self._container, self._stream)
        self._next = 0

    def _has_times(self) -> bool:
        """Return whether packets have the times of their frames."""
        name = self._container.format.name
        if name == 'avi':  # its packets are numbered in order of decoding
            return not self._stream.codec_context.has_b_frames
        return name.startswith(TIMED)

    def _read_times(self) -> bool:
        """Return whether the distinct times of packets number the frames."""
        from av.error import FFmpegError

        pts: list[int] = []
        times: list[int | None] = []
        keys = [0]
        hides = self._stream.codec_context.name == 'vp8'
        try:
            for packet in read_packets(self._container, self._stream):
                if not packet.size or packet.is_corrupt:
                    continue
                if not (times or packet.is_keyframe):
                    return False  # cut between key frames: some lack one
                times.append(packet.pts)
                if packet.is_discard:  # cut off by an edit list
                    continue
                if hides and not bytes(packet)[0] & 16:
                    continue  # a reference that is not displayed
                if packet.pts is None:
                    return False
                pts.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
        except FFmpegError:
            return False
        self._next = -1
        check_index(self.video, self._container, self._stream, times)
        if len(set(pts)) < len(pts):
            return False
        self._pts = np.sort(np.array(pts, np.int64))
        keys[0] = self._pts[0] if pts else 0
        self._keys = np.unique(np.searchsorted(self._pts, keys))
        return True

    def _count_frames(self) -> None:
        """Decode all frames to number them."""
        self._open()
        self._counts, self._keys = True, np.zeros(1, np.int64)
        pts: list[int | None] = []
        kept: list[VideoFrame] = []
        size = 0
        for frame in decode_all(self.video, self._container, self._stream):
            pts.append(frame.pts)
            size += 3 * frame.width * frame.height // 2
            if size <= _KEPT:
                kept.append(frame)
        self._kept = kept if size <= _KEPT else None
        self._pts, self._next = self._increasing(pts), -1

    def _increasing(self, pts: list[int | None]) -> np.ndarray:
        """Return times, or those of a constant rate if they do not increase.

        The times of AVI files are in the order of decoding.
        """
        times = np.array([time for time in pts if time is not None], np.int64)
        if len(times) == len(pts) and np.all(np.diff(times) > 0):
            return times
        step = round(1 / (Fraction(self.fps or 25) * self._time_base))
        return np.arange(len(pts)) * max(step, 1)

    def _decode(self, indices: list[int]) -> dict[int, np.ndarray]:
        return {index: self._to_rgb(self._find(index)) for index in indices}

    def _find(self, index: int) -> 'VideoFrame':
        """Decode a frame."""
        from av.error import FFmpegError

        if self._kept is not None:
            return self._kept[index]
        key = self._keys[np.searchsorted(self._keys, index, 'right') - 1]
        try:
            if not key <= self._next <= index:
                self._seek(int(key))
            return self._advance(index)
        except FFmpegError as error:
            if self._counts:
                reason = str(error.strerror)
                raise damaged(self.video, self._next, reason) from None
        except _OutOfOrderError:
            if self._counts:
                raise damaged(self.video, self._next, 'no frame') from None
        return self._find_by_count(index)

    def _find_by_count(self, index: int) -> 'VideoFrame':
        """Decode a frame of a file whose times or key frames are wrong."""
        pts, keys = self._pts, self._keys
        try:
            self._count_frames()
            if len(self) != len(pts):
                raise damaged(self.video, len(self), f'of {len(pts)} frames')
        except VideoError:  # keep the numbers that the file has so far
            self._pts, self._keys, self._kept = pts, keys, None
            self._counts, self._next = False, -1
            raise
        self._pts = pts
        return self._find(index)

    def _seek(self, key: int) -> None:
        """Go to a key frame, whose frame is decoded next."""
        if len(self._keys) == 1:
            self._open()
        else:
            self._container.seek(int(self._pts[key]), stream=self._stream)
            self._frames = _decode(self._container, self._stream)
        self._next = key

    def _advance(self, index: int) -> 'VideoFrame':
        """Decode up to a frame, and check that none is missing."""
        for frame in self._frames:
            number = (
                self._next if self._counts else self._number.get(frame.pts, -1)
            )
            if number < self._next:
                continue  # precedes the key frame
            if number > self._next:
                break
            self._next += 1
            if number == index:
                return frame
        self._next = -1
        raise _OutOfOrderError


class _OutOfOrderError(Exception):
    """Decoded frames do not follow the times of the packets."""
