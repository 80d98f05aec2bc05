# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Rotation and mirroring for display, by every way to read."""

import gc
import struct

import av
import numpy as np
import pytest
from av.sidedata import sidedata

from ata_mm.video import FrameSource, VideoError, open_video, why_not_decord

COLOURS = dict(
    R=(220, 30, 30), G=(30, 200, 30), B=(30, 30, 220), W=(230, 230, 230)
)
# What is displayed of the corners RGBW, by a, b, c, d of the display matrix.
ROTATED = {
    (1, 0, 0, 1): 'RGBW',
    (0, 1, -1, 0): 'BRWG',
    (-1, 0, 0, -1): 'WBGR',
    (0, -1, 1, 0): 'GWRB',
}
MIRRORED = {
    (-1, 0, 0, 1): 'GRWB',
    (1, 0, 0, -1): 'BWRG',
    (0, 1, 1, 0): 'RBGW',
    (0, -1, -1, 0): 'WGBR',
}


def fixed_point(matrix):
    """The nine numbers of a display matrix."""
    a, b, c, d = (65536 * number for number in matrix)
    return a, b, 0, c, d, 0, 0, 0, 2**30


def make(path, matrix=None):
    """Write frames whose corners are red, green, blue and white."""
    rows = (
        np.repeat([COLOURS[name] for name in names], 64, axis=0)
        for names in ('RG', 'BW')
    )
    picture = np.repeat(np.stack(list(rows)), 48, axis=0).astype(np.uint8)
    with av.open(str(path), 'w') as out:
        stream = out.add_stream('libx264', rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, 'yuv420p'
        if matrix:
            stream.set_display_matrix(fixed_point(matrix))
        for _ in range(4):
            frame = av.VideoFrame.from_ndarray(picture, format='rgb24')
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return str(path)


def corners(frame):
    """Names of the colours of a frame, row by row."""
    height, width = frame.shape[:2]
    return ''.join(
        min(COLOURS, key=lambda name: np.abs(pixel - COLOURS[name]).sum())
        for rows in frame[[height // 4, -height // 4]].astype(int)
        for pixel in rows[[width // 4, -width // 4]]
    )


def read(path, decoder):
    with open_video(path, decoder) as reader:
        return corners(reader.frames([2])[0])


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv'])
@pytest.mark.parametrize('matrix, expected', {**ROTATED, **MIRRORED}.items())
def test_frames_are_those_of_players(matrix, expected, name, tmp_path):
    path = make(tmp_path / name, matrix)
    assert read(path, 'auto') == read(path, 'pyav') == expected
    with FrameSource(path) as source:
        assert {corners(frame) for frame in source} == {expected}


@pytest.mark.parametrize('matrix, expected', ROTATED.items())
def test_opencv_rotates(matrix, expected, tmp_path):
    assert read(make(tmp_path / 'a.mp4', matrix), 'opencv') == expected


# See test_torchcodec.py for an environment that has it.
@pytest.mark.parametrize('decoder', ['decord', 'opencv', 'torchcodec'])
@pytest.mark.parametrize('matrix', MIRRORED)
def test_mirrored_video_is_refused(matrix, decoder, tmp_path):
    path = make(tmp_path / 'a.mp4', matrix)
    refused = pytest.raises(VideoError, match="mirrored .* decoder='auto'")
    try:
        with refused:
            open_video(path, decoder)
    except ImportError:
        pytest.skip('needs torchcodec')


def test_a_matrix_of_the_whole_movie_is_not_for_decord(tmp_path):
    path = make(tmp_path / 'a.mp4')
    assert not why_not_decord(path)
    with open(path, 'rb+') as file:
        file.seek(file.read().find(b'mvhd') + 4 + 36)
        file.write(struct.pack('>9i', *fixed_point((-1, 0, 0, 1))))
    assert 'mirrored' in why_not_decord(path)
    assert read(path, 'auto') == 'GRWB'


def test_data_that_pyav_does_not_know_leave_the_rotation(
    tmp_path, monkeypatch
):
    def fail(frame):
        raise ValueError('36 is not a valid Type')

    monkeypatch.setattr(sidedata, 'SideDataContainer', fail)
    for matrix, expected in ROTATED.items():
        path = make(tmp_path / f'{expected}.mp4', matrix)
        assert read(path, 'pyav') == expected


def test_frames_are_freed_without_the_garbage_collector(tmp_path):
    def existing():
        return sum(type(o) is av.VideoFrame for o in gc.get_objects())

    path = make(tmp_path / 'a.mp4', (-1, 0, 0, 1))
    gc.collect()
    gc.disable()
    try:
        with FrameSource(path) as source:
            assert len(list(source)) == 4
        left = existing()
        gc.collect()
    finally:
        gc.enable()
    assert left == existing()
