# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
from decord import DECORDError, VideoReader

from ata_mm.video import FrameSource, decoding, open_video


def test_frames_are_those_that_decord_reads(video_root):
    path = str(video_root / '0.mp4')
    with FrameSource(path) as source:
        frames = list(source)
    expected = VideoReader(path).get_batch(range(20)).asnumpy()
    assert np.array_equal(np.stack(frames), expected)


def test_file_tells_its_length_and_rate(video_root):
    with FrameSource(str(video_root / '0.mp4')) as source:
        assert (source.num_frames, source.fps) == (20, 10)


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
    ended = pytest.raises(ValueError, match=r'ended after \d+ of 20 frames')
    with FrameSource(str(path)) as source, ended:
        list(source)


@pytest.fixture(params=[100, 2000])
def broken(request, video_root, tmp_path):
    """The first bytes of a video file."""
    path = tmp_path / 'broken.mp4'
    path.write_bytes((video_root / '0.mp4').read_bytes()[: request.param])
    return str(path)


def test_frames_at_random_positions(video_root):
    path = str(video_root / '0.mp4')
    with FrameSource(path) as source:
        expected = list(source)[7]
    with open_video(path) as reader:
        assert len(reader) == 20
        assert np.array_equal(reader.get_batch([7]).asnumpy()[0], expected)


def test_frames_are_resized_while_decoding(video_root):
    with open_video(str(video_root / '0.mp4'), width=32, height=16) as reader:
        assert reader.get_batch([0, 1]).shape == (2, 16, 32, 3)


def test_broken_file_is_named(broken):
    with pytest.raises(
        ValueError, match='broken.mp4 cannot be decoded'
    ), open_video(broken):
        pass


def test_video_without_frames_is_named(write_video, tmp_path):
    write_video(tmp_path / 'zero.mp4', num_frames=0)
    with pytest.raises(
        ValueError, match='zero.mp4 cannot be decoded'
    ), open_video(str(tmp_path / 'zero.mp4')):
        pass


@pytest.mark.parametrize('error', [RuntimeError, DECORDError])
def test_decoder_errors_name_the_file(error, video_root):
    with pytest.raises(ValueError, match='0.mp4 cannot be decoded'), decoding(
        str(video_root / '0.mp4')
    ):
        raise error('code -1')


def test_other_errors_are_kept(video_root):
    with pytest.raises(KeyError, match='scale'), decoding(
        str(video_root / '0.mp4')
    ):
        raise KeyError('scale')


def test_missing_file_is_not_decoded():
    with pytest.raises(
        FileNotFoundError, match='x.mp4 does not exist'
    ), decoding('x.mp4'):
        pytest.fail('the block must not run')
