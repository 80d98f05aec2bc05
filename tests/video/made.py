# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Videos whose frames show their numbers, made with PyAV."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np

BITS = 6  # bars of a frame, black or white: its number in binary
FRAMES = 40


def picture(
    number: int, size: tuple[int, int] = (128, 96), turns: int = 0
) -> np.ndarray:
    """The frame of a number, which is upright after quarter turns."""
    width, height = size[::-1] if turns % 2 else size
    bits = np.arange(width) * BITS // width
    row = (28 + 200 * (number >> bits & 1)).astype(np.uint8)
    frame = np.tile(row[None, :, None], (height, 1, 3))
    return np.ascontiguousarray(np.rot90(frame, -turns))


def number_of(frame: np.ndarray) -> int:
    """The number that a frame shows."""
    places = (np.arange(BITS) + 0.5) * frame.shape[1] / BITS
    bars = frame[frame.shape[0] // 2, places.astype(int)].mean(-1) > 128
    return sum(1 << bit for bit, bar in enumerate(bars) if bar)


def make_video(
    path: Path,
    codec: str = 'libx264',
    size: tuple[int, int] = (128, 96),
    pix_fmt: str = 'yuv420p',
    frames: int = FRAMES,
    gop: int = 12,
    b_frames: int = 2,
    turns: int = 0,
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> Path:
    """Write numbered frames, at 25 per second or given times in 1/25 s."""
    with av.open(str(path), 'w', options=container or {}) as out:
        stream = out.add_stream(codec, rate=25, options=options or {})
        context = stream.codec_context
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        context.gop_size = gop
        if codec in ('libx264', 'libx265', 'mpeg4', 'mpeg2video'):
            context.max_b_frames = b_frames
        if turns:
            stream.set_display_rotation(90 * turns)
        context.time_base = Fraction(1, 25)
        with _unprivileged():
            context.open()
        for number in range(frames):
            rgb = picture(number, size, turns)
            frame = av.VideoFrame.from_ndarray(rgb, format='rgb24')
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@contextmanager
def _unprivileged() -> Iterator[None]:
    """Be another user than root for a moment.

    SVT-AV1, opened by root, gives its threads and the one that calls it the
    highest real-time priority, for good: two that wait for others by spinning
    then stop a machine of two cores.
    """
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


def copy_video(
    source: Path, path: Path, start: int = 0, lost: int = 0, **options: str
) -> Path:
    """Copy a video, cut at a time in 1/25 s, without its first packets."""
    with (
        av.open(str(source)) as inner,
        av.open(str(path), 'w', options=options) as out,
    ):
        stream = inner.streams.video[0]
        copied = out.add_stream_from_template(stream)
        assert stream.time_base is not None
        shift = int(Fraction(start, 25) / stream.time_base)
        for packet in islice(inner.demux(stream), lost, None):
            if packet.dts is not None and packet.pts is not None:
                packet.pts -= shift
                packet.dts -= shift
                packet.stream = copied
                out.mux(packet)
    return path


def pipe_video(source: Path, path: Path, container: str) -> Path:
    """Copy a video as to a pipe: sizes and index remain unknown."""
    with open(path, 'wb') as file, av.open(str(source)) as inner:
        pipe = _Pipe(file)
        with av.open(pipe, 'w', format=container) as out:
            stream = inner.streams.video[0]
            copied = out.add_stream_from_template(stream)
            for packet in inner.demux(stream):
                if packet.dts is not None:
                    packet.stream = copied
                    out.mux(packet)
    return path


def leave_unfinished(path: Path, size: int) -> Path:
    """Give an AVI file the sizes of a pipe or a recorder, and no index."""
    data = bytearray(path.read_bytes())
    movi = data.find(b'movi')
    end = data.rfind(b'idx1')
    for place in (4, movi - 4):
        data[place : place + 4] = size.to_bytes(4, 'little')
    path.write_bytes(data[:end])
    return path


class _Pipe:
    """File that can only be written in order."""

    def __init__(self, file) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data)
