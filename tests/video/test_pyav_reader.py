# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import sys
from pathlib import Path

import numpy as np
import pytest

from ata_mm.video import FrameSource, PyAVReader, VideoError, pyav_reader

sys.path.append(str(Path(__file__).parent))
from made import FRAMES, copy_video, make_video, number_of


def test_frames_in_any_order_with_repetitions(tmp_path):
    asked = [7, 3, -1, 7, 30]
    with PyAVReader(str(make_video(tmp_path / 'a.mp4'))) as reader:
        frames = reader.frames(asked)
    assert [number_of(frame) for frame in frames] == [7, 3, 39, 7, 30]
    assert not np.shares_memory(frames[0], frames[3])


def test_index_out_of_range(tmp_path):
    path = str(make_video(tmp_path / 'a.mp4'))
    beyond = pytest.raises(IndexError, match='below 40 .* got 40')
    with beyond, PyAVReader(path) as reader:
        reader.frames([40])


@pytest.mark.parametrize('name', ['a.ts', 'a.avi', 'a.mp4'])
def test_frames_that_are_too_many_to_keep(name, tmp_path, monkeypatch):
    monkeypatch.setattr(pyav_reader, '_KEPT', 50_000)
    asked = np.random.default_rng(0).permutation(FRAMES)
    with PyAVReader(str(make_video(tmp_path / name))) as reader:
        for index in asked:
            assert number_of(reader.frames([index])[0]) == index


def test_wrong_key_frames_are_noticed(tmp_path, monkeypatch):
    """Decoding from them gives no frame, so all are decoded."""
    path = make_video(tmp_path / 'a.mp4', gop=40)
    with PyAVReader(str(path)) as reader:
        reader._keys = np.array([0, 20])
        assert number_of(reader.frames([25])[0]) == 25


@pytest.mark.parametrize('suffix', ['mkv', 'mp4', 'flv'])
def test_a_file_that_starts_between_key_frames(tmp_path, suffix):
    whole = make_video(tmp_path / 'whole.mp4', options={'sc_threshold': '0'})
    path = copy_video(whole, tmp_path / f'a.{suffix}', lost=5)
    with FrameSource(path) as source, PyAVReader(str(path)) as reader:
        shown = [number_of(frame) for frame in source]
        read = [number_of(reader.frames([i])[0]) for i in range(len(reader))]
    assert read == shown == list(range(12, FRAMES))


def test_a_frame_that_is_missing_changes_no_numbers(tmp_path):
    with PyAVReader(str(make_video(tmp_path / 'a.mp4'))) as reader:
        reader._pts = np.append(reader._pts, reader._pts[-1] + 512)
        for _ in range(2):
            with pytest.raises(VideoError, match='of 41 frames'):
                reader.frames([40])


def test_frames_are_turned_upright(tmp_path):
    path = make_video(tmp_path / 'a.mp4', turns=1)
    with PyAVReader(str(path)) as reader:
        (frame,) = reader.frames([21])
    assert frame.shape == (128, 96, 3) and number_of(frame) == 21


def test_decoding_threads_change_nothing(tmp_path):
    path = str(make_video(tmp_path / 'a.mp4'))
    one, many = (PyAVReader(path, n).frames(range(FRAMES)) for n in (1, 0))
    assert np.array_equal(one, many)


def test_index_beyond_the_end_of_the_file(tmp_path):
    path = make_video(tmp_path / 'a.mp4', container=dict(movflags='faststart'))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(VideoError, match=r'has \d+ of the 40 frames'):
        PyAVReader(str(path))


def test_damage_between_frames(tmp_path):
    path = make_video(tmp_path / 'a.mp4', 'mpeg4')
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : 2 * middle] = bytes(middle)
    path.write_bytes(data)
    with (
        pytest.raises(VideoError, match='is damaged'),
        PyAVReader(str(path)) as reader,
    ):
        reader.frames(range(FRAMES))


def test_sound_is_no_video(tmp_path):
    import av

    path = str(tmp_path / 'a.mp4')
    with av.open(path, 'w') as out:
        stream = out.add_stream('aac', rate=44100)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format='fltp', layout='mono'
        )
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    with pytest.raises(VideoError, match='has no video stream'):
        PyAVReader(path)
