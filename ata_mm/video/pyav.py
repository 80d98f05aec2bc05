# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Containers, streams and frames by PyAV, for the reader and for streams.

PyAV is imported in functions: ``python -m ata_mm doctor`` has to start without
it to report that it is missing.
"""

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from .reader import VideoError

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.error import FFmpegError
    from av.video.stream import VideoStream


# Containers whose packets have the times of their frames.
TIMED = ('mov,', 'matroska,', 'flv', 'gif')

_NEAR = (-1, 0, 1)  # rounding of times in an index
_PLAYLISTS = ('concat', 'hls', 'dash', 'imf')


class Orientation(NamedTuple):
    """How stored frames are turned and mirrored for display.

    Args:
        transposed (bool): Whether rows become columns, before the flips.
        flipped_x (bool): Whether left and right are exchanged.
        flipped_y (bool): Whether top and bottom are exchanged.
    """

    transposed: bool
    flipped_x: bool
    flipped_y: bool

    @property
    def is_mirrored(self) -> bool:
        """Whether frames are mirrored, and not only rotated."""
        return sum(self) % 2 == 1

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Turn a frame upright.

        Args:
            pixels (np.ndarray): The frame as it is stored, (H, W, C).

        Returns:
            np.ndarray: The frame as it is displayed, contiguous.
        """
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        if self.flipped_x:
            pixels = pixels[:, ::-1]
        if self.flipped_y:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)


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

    source: str | BinaryIO
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
        return orientation(frame).apply(rgb.to_ndarray())

    return convert


def orientation(frame: 'VideoFrame') -> Orientation:
    """Return how a frame is turned and mirrored for display.

    Args:
        frame (VideoFrame): The frame.

    Returns:
        Orientation: That of the display matrix, to the nearest quarter turn.
    """
    # Not frame.side_data: the frame keeps it, and both keep each other and
    # megabytes of pixels until the next garbage collection.
    from av.sidedata.sidedata import SideDataContainer

    try:
        sides = SideDataContainer(frame)  # type: ignore[call-arg]
        data = sides.get('DISPLAYMATRIX')
    except ValueError:  # the frame has data of a kind that PyAV does not know
        angle = math.radians(frame.rotation)
        a = d = math.cos(angle)
        c = math.sin(angle)
        b = -c
    else:
        if data is None:
            return Orientation(False, False, False)
        # x' = a x + c y and y' = b x + d y, from stored (x, y) to displayed.
        a, b, _, c, d = struct.unpack_from('=5i', data)
    if abs(b) > abs(a):
        return Orientation(True, c < 0, b < 0)
    return Orientation(False, a < 0, d < 0)


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
    is_timed = container.format.name.startswith(TIMED)
    for packet in read_packets(container, stream):
        if packet.is_corrupt and is_timed:
            continue  # the last one of a recording that was cut off
        if packet.size:
            times.append(packet.pts)
        frames: list[VideoFrame] = []
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
    times: Sequence[int | None],
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
