# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Exact reader with PyAV, and what it shares with streams.

PyAV is imported in functions: ``python -m ata_mm doctor`` has to start without
it to report that it is missing.
"""

from fractions import Fraction
from typing import (
    TYPE_CHECKING,
    BinaryIO,
    Callable,
    Dict,
    Iterator,
    List,
    Optional,
    Sequence,
    Union,
)

import numpy as np

from .reader import VideoError, VideoReader

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.error import FFmpegError
    from av.video.stream import VideoStream

_KEPT = 2**28  # bytes of decoded frames that a reader keeps

# Containers whose packets have the times of their frames.
_TIMED = ('mov,', 'matroska,', 'flv', 'gif')

_NEAR = (-1, 0, 1)  # rounding of times in an index
_PLAYLISTS = ('concat', 'hls', 'dash', 'imf')


def open_container(video: str) -> 'InputContainer':
    """Open a file with PyAV.

    Args:
        video (str): The file.

    Returns:
        InputContainer: The container, at its start.

    Raises:
        VideoError: If PyAV knows no container or codec of this kind.
    """
    import av

    source: Union[str, BinaryIO]
    try:
        video.encode()
    except UnicodeEncodeError:  # FFmpeg takes names in UTF-8 only
        source = open(video, 'rb')  # noqa: SIM115  closed with the container
    else:
        source = f'file:{video}'  # names may contain colons
    try:
        container = av.open(source, 'r', metadata_errors='ignore')
    except av.error.FFmpegError as error:
        raise undecodable(video, error) from error
    if container.format.name in _PLAYLISTS:
        container.close()
        raise VideoError(video, 'is a list of files', 'Name one of them.')
    return container


def video_stream(video: str, container: 'InputContainer') -> 'VideoStream':
    """Return the video stream of a file that players show by default.

    Args:
        video (str): The file.
        container (InputContainer): Its container.

    Returns:
        VideoStream: The stream, not a cover picture.

    Raises:
        VideoError: If there is none, or no decoder for it.
    """
    import av

    cover = av.stream.Disposition.attached_pic
    streams = [
        stream
        for stream in container.streams.video
        if not cover & stream.disposition
    ]
    if not streams:
        raise VideoError(video, 'has no video stream')
    best = container.streams.best('video')
    stream = next((s for s in streams if s == best), streams[0])
    if stream.codec_context is None:
        raise VideoError(video, 'has a codec that PyAV cannot decode')
    return stream


def rgb_converter(
    stream: 'VideoStream',
) -> Callable[['VideoFrame'], np.ndarray]:
    """Build a function that converts frames to RGB and turns them upright.

    All get the size of the stream, also where it changes within a file.

    Args:
        stream (VideoStream): The stream, before it is decoded.

    Returns:
        Callable: From a frame to an array (H, W, 3), uint8.
    """
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    width, height = stream.codec_context.width, stream.codec_context.height

    def convert(frame: 'VideoFrame') -> np.ndarray:
        rgb = reformatter.reformat(
            frame, width or None, height or None, 'rgb24', threads=1
        )
        pixels = rgb.to_ndarray()
        turns = round(frame.rotation / 90)
        return np.rot90(pixels, turns).copy() if turns % 4 else pixels

    return convert


def set_threads(stream: 'VideoStream', num_threads: int) -> None:
    """Set the decoding threads of a stream before it is decoded.

    Args:
        stream (VideoStream): The stream.
        num_threads (int): 1 for none besides the caller, 0 for one per core.
    """
    stream.codec_context.thread_count = num_threads
    stream.thread_type = 'NONE' if num_threads == 1 else 'AUTO'


def read_packets(
    container: 'InputContainer', stream: 'VideoStream'
) -> Iterator['Packet']:
    """Read the packets of a stream from the present position.

    Args:
        container (InputContainer): The container.
        stream (VideoStream): Its stream.

    Yields:
        Packet: A packet; the last one is empty, to flush the decoder.
    """
    # PyAV 18 leaks memory if an unfinished iterator of its own is dropped.
    # This generator closes it when it is dropped itself.
    yield from container.demux(stream)


def _decode(
    container: 'InputContainer', stream: 'VideoStream'
) -> Iterator['VideoFrame']:
    """Decode the frames of a stream from the present position."""
    for packet in read_packets(container, stream):
        yield from packet.decode()


def decode_all(
    video: str, container: 'InputContainer', stream: 'VideoStream'
) -> Iterator['VideoFrame']:
    """Decode the frames of a stream in order.

    Errors before the first frame, where a stream was cut off, and in the last
    packet, where a recording was, are ignored.

    Args:
        video (str): The file, for messages.
        container (InputContainer): Its container.
        stream (VideoStream): Its stream.

    Yields:
        VideoFrame: A frame.

    Raises:
        VideoError: If another packet cannot be decoded, or an mp4 file ends
            before the frames of its index.
    """
    from av.error import FFmpegError

    number, times, errors = 0, [], []
    is_timed = container.format.name.startswith(_TIMED)
    for packet in read_packets(container, stream):
        if packet.is_corrupt and is_timed:
            continue  # the last one of a recording that was cut off
        if packet.size:
            times.append(packet.pts)
        frames: List[VideoFrame] = []
        try:
            frames = packet.decode()
        except FFmpegError as error:
            errors += [error] * (packet.size > 0)
        if number and len(errors) > (not frames):
            raise damaged(video, number, str(errors[0].strerror))
        if not number and frames:
            errors.clear()  # where a stream was cut off
        for frame in frames:
            number += 1
            yield frame
    if errors and not number:
        raise undecodable(video, errors[0])
    check_index(video, container, stream, times)


def check_index(
    video: str,
    container: 'InputContainer',
    stream: 'VideoStream',
    times: Sequence[Optional[int]],
) -> None:
    """Raise if a file lacks frames of its index.

    Args:
        video (str): The file, for messages.
        container (InputContainer): Its container, read to the end.
        stream (VideoStream): Its stream.
        times (Sequence[int | None]): Times of the whole packets.

    Raises:
        VideoError: If an mp4 or AVI file has fewer frames than its index, or
            a Matroska file lacks a key frame of its index.
    """
    if container.format.name.startswith('matroska,'):
        container.seek(0, stream=stream)  # reads the index
        read = {time + i for time in times if time is not None for i in _NEAR}
        indexed = {entry.timestamp for entry in stream.index_entries}
        lost = min(indexed - read, default=None)
        if lost is not None:
            place = float(lost * (stream.time_base or 1))
            reason = f'its frames from {place:g} s on cannot be found'
            raise damaged(video, sum(t < lost for t in read) // 3, reason)
    elif container.format.name.startswith(('mov,', 'avi')):
        number = sum(entry.size > 0 for entry in stream.index_entries)
        if len(times) < number:
            raise VideoError(
                video,
                f'is truncated: it has {len(times)} of the {number} frames in '
                'its index',
                'Copy it again, or leave it out.',
            )


def undecodable(video: str, error: 'FFmpegError') -> VideoError:
    """Return the error for a file without a decodable frame.

    Args:
        video (str): The file.
        error (FFmpegError): What FFmpeg says.
    """
    return VideoError(
        video,
        f'cannot be decoded: {error.strerror}',
        'Use a file with at least one complete frame, such as .mp4, .avi or '
        '.webm.',
    )


def damaged(video: str, number: int, reason: str) -> VideoError:
    """Return the error for a file that cannot be decoded to its end.

    Args:
        video (str): The file.
        number (int): Number of frames before the damage.
        reason (str): What the decoder says.
    """
    return VideoError(
        video,
        f'is damaged: decoding ended after {number} frames ({reason})',
        'Restore it, or leave it out.',
    )


class PyAVReader(VideoReader):
    """Reader with PyAV, exact in every container.

    Packets of mp4, Matroska and FLV files, and of AVI files without B-frames,
    have the times of their frames. The times in order number the frames. A
    frame is decoded from the key frame before it; if the decoded frames do
    not follow these times, from the start of the file. The frames of other
    containers are numbered by decoding the file once; up to 256 MiB of them
    are kept for the reading that follows.

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
        self._kept: Optional[List[VideoFrame]] = None
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
        return name.startswith(_TIMED)

    def _read_times(self) -> bool:
        """Return whether the distinct times of packets number the frames."""
        from av.error import FFmpegError

        pts: List[int] = []
        times: List[Optional[int]] = []
        keys = [0]
        hides = self._stream.codec_context.name == 'vp8'
        try:
            for packet in read_packets(self._container, self._stream):
                if not packet.size or packet.is_corrupt:
                    continue
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
        pts: List[Optional[int]] = []
        kept: List[VideoFrame] = []
        size = 0
        for frame in decode_all(self.video, self._container, self._stream):
            pts.append(frame.pts)
            size += 3 * frame.width * frame.height // 2
            if size <= _KEPT:
                kept.append(frame)
        self._kept = kept if size <= _KEPT else None
        self._pts, self._next = self._increasing(pts), -1

    def _increasing(self, pts: List[Optional[int]]) -> np.ndarray:
        """Return times, or those of a constant rate if they do not increase.

        The times of AVI files are in the order of decoding.
        """
        times = np.array([time for time in pts if time is not None], np.int64)
        if len(times) == len(pts) and np.all(np.diff(times) > 0):
            return times
        step = round(1 / (Fraction(self.fps or 25) * self._time_base))
        return np.arange(len(pts)) * max(step, 1)

    def _decode(self, indices: List[int]) -> Dict[int, np.ndarray]:
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
        number, pts = len(self), self._pts
        self._count_frames()
        if len(self) != number:
            raise damaged(self.video, len(self), f'of {number} frames')
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
