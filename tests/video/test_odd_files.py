# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Files that recorders, editors and accidents leave."""

import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ata_mm.video import FrameSource, VideoError, open_video

sys.path.append(str(Path(__file__).parent))
from made import FRAMES, make_video, number_of, picture, pipe_video


def in_order(path):
    with FrameSource(str(path)) as source:
        return list(source)


def at_random(path):
    with open_video(str(path)) as reader:
        return reader.frames(range(len(reader) - 1, -1, -1))[::-1]


READ = pytest.mark.parametrize('read', [in_order, at_random])


def blank(path, number):
    """Overwrite bytes in the middle of a file with zeros."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + number] = bytes(number)
    path.write_bytes(data)


def join(parts, path):
    """Write the packets of files one after the other, in one stream."""
    with av.open(str(path), 'w') as out:
        copied, shift = None, Fraction(0)
        for part in parts:
            with av.open(str(part)) as inner:
                stream = inner.streams.video[0]
                copied = copied or out.add_stream_from_template(stream)
                ticks = int(shift / stream.time_base)
                for packet in inner.demux(stream):
                    if packet.dts is not None:
                        packet.pts += ticks
                        packet.dts += ticks
                        packet.stream = copied
                        out.mux(packet)
                shift += stream.frames * Fraction(1, 25)


@READ
def test_frames_between_damage_and_end_are_missed(read, tmp_path):
    """FFmpeg reads a Matroska file up to damaged headers, without a word."""
    path = make_video(tmp_path / 'a.mkv')
    blank(path, 64)
    with pytest.raises(VideoError, match='damaged: .* from 0.64 s on'):
        read(path)


@READ
def test_frames_of_the_index_are_missed(read, tmp_path):
    path = make_video(tmp_path / 'a.avi', codec='mpeg4', b_frames=0)
    blank(path, 2000)
    with pytest.raises(VideoError, match='has .* of the 40 frames in its'):
        read(path)


@READ
def test_recording_that_was_cut_off(read, tmp_path):
    whole = make_video(tmp_path / 'a.flv')
    path = pipe_video(whole, tmp_path / 'b.flv', 'flv')
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    numbers = [number_of(frame) for frame in read(path)]
    # The last group has no reference for some of its B-frames.
    assert 20 < len(numbers) < FRAMES
    assert numbers[:20] == list(range(20))


@READ
@pytest.mark.parametrize('name', ['c.mp4', 'c.mkv'])
def test_frames_get_one_size(read, name, tmp_path):
    options = dict(
        frames=20, b_frames=0, options={'x264-params': 'repeat-headers=1'}
    )
    small = make_video(tmp_path / 'a.mp4', **options)
    large = make_video(tmp_path / 'b.mp4', size=(192, 144), **options)
    join([small, large], tmp_path / name)
    frames = read(tmp_path / name)
    assert {frame.shape for frame in frames} == {(96, 128, 3)}
    assert [number_of(frame) for frame in frames] == [*range(20)] * 2


@READ
def test_stream_with_most_frames_is_read(read, tmp_path):
    """The first stream is a picture that is not marked as a cover."""
    video = make_video(tmp_path / 'a.mp4')
    path = tmp_path / 'b.mkv'
    with av.open(str(video)) as inner, av.open(str(path), 'w') as out:
        cover = out.add_stream('mjpeg', rate=1)
        cover.width, cover.height, cover.pix_fmt = 128, 96, 'yuvj420p'
        stream = inner.streams.video[0]
        copied = out.add_stream_from_template(stream)
        frame = av.VideoFrame.from_ndarray(picture(63), format='rgb24')
        out.mux([*cover.encode(frame), *cover.encode()])
        for packet in inner.demux(stream):
            if packet.dts is not None:
                packet.stream = copied
                out.mux(packet)
    assert [number_of(frame) for frame in read(path)] == list(range(FRAMES))


@READ
def test_list_of_files_is_no_video(read, tmp_path):
    make_video(tmp_path / 'a.mp4')
    path = tmp_path / 'b.mp4'
    path.write_text('ffconcat version 1.0\nfile a.mp4\n')
    with pytest.raises(VideoError, match='b.mp4 is a list of files'):
        read(path)


@READ
def test_whole_file_that_ffmpeg_cannot_decode(read, tmp_path):
    """It is neither called damaged nor without a frame."""
    path = make_video(tmp_path / 'a.mov', codec='rawvideo')
    with pytest.raises(VideoError, match='a.mov cannot be decoded: Invalid'):
        read(path)


def test_damage_is_concealed_the_same_in_any_order(tmp_path):
    whole = make_video(tmp_path / 'a.webm', codec='libvpx')
    path = pipe_video(whole, tmp_path / 'b.webm', 'webm')
    blank(path, 64)
    assert np.array_equal(in_order(path), at_random(path))
