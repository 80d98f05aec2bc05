# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import sys
from pathlib import Path

import decord
import numpy as np
import pytest

from ata_mm.video import FrameSource, VideoError, decoding, open_video

sys.path.append(str(Path(__file__).parent))
from made import FRAMES, make_video, number_of


def test_frames_are_those_that_decord_reads(video_root):
    path = str(video_root / '0.mp4')
    with FrameSource(path) as source:
        frames = list(source)
    expected = decord.VideoReader(path).get_batch(range(20)).asnumpy()
    assert np.array_equal(np.stack(frames), expected)


def test_file_tells_its_length_and_rate(video_root):
    with FrameSource(str(video_root / '0.mp4')) as source:
        assert (source.num_frames, source.fps) == (20, 10)


def test_a_number_may_be_the_name_of_a_file(video_root, tmp_path, monkeypatch):
    (tmp_path / '0').write_bytes((video_root / '0.mp4').read_bytes())
    monkeypatch.chdir(tmp_path)
    with FrameSource('0', is_file=True) as source:
        assert len(list(source)) == 20


def test_missing_file():
    with pytest.raises(FileNotFoundError, match='x.mp4 does not exist'):
        FrameSource('x.mp4')


def test_corrupt_file(tmp_path):
    (tmp_path / 'x.mp4').write_bytes(b'no video')
    with pytest.raises(ValueError, match='x.mp4 cannot be decoded'):
        FrameSource(str(tmp_path / 'x.mp4'))


@pytest.mark.parametrize('source', ['99', 'file:///nowhere.mp4'])
def test_camera_or_address_without_a_response(source):
    with pytest.raises(ValueError, match=f'{source} does not respond'):
        FrameSource(source)


def test_address_has_no_length(video_root):
    with FrameSource(f'file://{video_root}/0.mp4') as source:
        assert source.num_frames is None
        assert len(list(source)) == 20


def test_file_damaged_in_the_middle(video_root, tmp_path):
    whole = (video_root / '0.mp4').read_bytes()
    path = tmp_path / 'damaged.mp4'
    middle = slice(len(whole) // 3, len(whole) * 2 // 3)
    path.write_bytes(
        whole[: middle.start]
        + bytes(middle.stop - middle.start)
        + whole[middle.stop :]
    )
    ended = pytest.raises(ValueError, match=r'ended after \d+ frames')
    with FrameSource(str(path)) as source, ended:
        list(source)


@pytest.fixture(params=[100, 2000])
def broken(request, video_root, tmp_path):
    """The first bytes of a video file."""
    path = tmp_path / 'broken.mp4'
    path.write_bytes((video_root / '0.mp4').read_bytes()[: request.param])
    return str(path)


@pytest.mark.parametrize(
    'name, decoder', [('a.mp4', 'decord'), ('a.avi', 'pyav')]
)
def test_auto_takes_decord_where_it_is_right(name, decoder, tmp_path):
    make_video(tmp_path / name)
    with open_video(str(tmp_path / name)) as reader:
        assert reader.decoder == decoder


def test_decord_is_refused_where_it_is_wrong(tmp_path):
    make_video(tmp_path / 'a.avi')
    with pytest.raises(VideoError, match=r"decord: .* decoder='auto'"):
        open_video(str(tmp_path / 'a.avi'), 'decord')


def test_auto_falls_back_to_pyav_while_reading(tmp_path, monkeypatch):
    make_video(tmp_path / 'a.mp4')
    reader = open_video(str(tmp_path / 'a.mp4'))

    def fail(indices):
        raise VideoError('a.mp4', 'fails')

    monkeypatch.setattr(reader, '_get_batch', fail)
    assert number_of(reader.frames([7])[0]) == 7


def test_unknown_decoder():
    with pytest.raises(ValueError, match="auto, .*, torchcodec, got 'mmap'"):
        open_video('a.mp4', 'mmap')


def test_decoder_that_is_not_installed(video_root, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torchcodec.decoders', None)
    with pytest.raises(ImportError, match='Expected torchcodec'):
        open_video(str(video_root / '0.mp4'), 'torchcodec')


@pytest.mark.parametrize('decoder', ['auto', 'pyav'])
def test_name_that_is_not_utf8(decoder, tmp_path):
    name = bytes(tmp_path) + b'/caf\xe9.mp4'
    make_video(tmp_path / 'a.mp4').rename(
        name.decode(errors='surrogateescape')
    )
    with open_video(os.fsdecode(name), decoder) as reader:
        assert number_of(reader.frames([7])[0]) == 7


def test_opencv_does_not_open_a_name_that_is_not_utf8(tmp_path):
    name = os.fsdecode(bytes(tmp_path) + b'/caf\xe9.mp4')
    make_video(tmp_path / 'a.mp4').rename(name)
    with pytest.raises(VideoError, match='name that is not UTF-8'):
        open_video(name, 'opencv')


def test_times_of_a_variable_frame_rate(tmp_path):
    times = [2 * n + n // 7 * 5 for n in range(FRAMES)]
    make_video(tmp_path / 'a.mp4', times=times)
    with FrameSource(str(tmp_path / 'a.mp4')) as source:
        starts = [source.span[0] for _ in source]
    expected = np.array(times) / 25
    np.testing.assert_allclose(starts, expected, atol=1e-3)
    with open_video(str(tmp_path / 'a.mp4')) as reader:
        np.testing.assert_allclose(reader.timestamps, expected, atol=1e-3)


def test_times_of_an_avi_file_with_dropped_frames(tmp_path):
    times = [n + 100 * (n > 20) for n in range(FRAMES)]
    path = make_video(tmp_path / 'a.avi', 'mpeg4', b_frames=0, times=times)
    with FrameSource(path) as source, open_video(path) as reader:
        assert source.num_frames == FRAMES
        starts = [source.span[0] for _ in source]
        np.testing.assert_allclose(starts, reader.timestamps)
    np.testing.assert_allclose(starts, np.array(times) / 25)


def test_broken_file_is_named(broken):
    with pytest.raises(ValueError, match='broken.mp4 '), open_video(broken):
        pass


def test_video_without_frames_is_named(write_video, tmp_path):
    write_video(tmp_path / 'zero.mp4', num_frames=0)
    with (
        pytest.raises(ValueError, match='zero.mp4 '),
        open_video(str(tmp_path / 'zero.mp4')),
    ):
        pass


@pytest.mark.parametrize('error', [RuntimeError, KeyError])
def test_errors_of_a_whole_file_tell_of_the_transforms(error, video_root):
    with (
        pytest.raises(
            VideoError, match='0.mp4 cannot be read by the transforms'
        ),
        decoding(str(video_root / '0.mp4')),
    ):
        raise error('code -1')


def test_errors_of_a_broken_file_tell_what_is_wrong(tmp_path):
    path = tmp_path / 'a.mp4'
    path.write_bytes(b'junk')
    with (
        pytest.raises(VideoError, match='a.mp4 cannot be decoded'),
        decoding(str(path)),
    ):
        raise TypeError('no __len__')


def test_missing_file_is_not_decoded():
    with (
        pytest.raises(FileNotFoundError, match='x.mp4 does not exist'),
        decoding('x.mp4'),
    ):
        pytest.fail('the block must not run')


def test_a_file_can_be_read_again(video_root):
    with FrameSource(video_root / '0.mp4') as frames:
        first, second = list(frames), list(frames)
    assert np.array_equal(first, second)


@pytest.mark.parametrize('decoder', ['auto', 'decord', 'pyav', 'opencv'])
def test_a_path_is_opened_and_closed_twice(decoder, tmp_path):
    make_video(tmp_path / 'a.mp4')
    reader = open_video(tmp_path / 'a.mp4', decoder)
    reader.close()
    reader.close()
