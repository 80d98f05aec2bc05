# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
from decord import VideoReader

from ata_mm.video.sources import FrameSource


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
def test_silent_camera_or_address(source):
    with pytest.raises(ValueError, match=f'{source} does not answer'):
        FrameSource(source)


def test_address_has_no_length(video_root):
    with FrameSource(f'file://{video_root}/0.mp4') as source:
        assert source.num_frames is None
        assert len(list(source)) == 20


def test_decoder_that_gives_up(video_root, tmp_path):
    whole = (video_root / '0.mp4').read_bytes()
    path = tmp_path / 'damaged.mp4'
    middle = slice(len(whole) // 3, len(whole) * 2 // 3)
    path.write_bytes(whole[:middle.start] + bytes(middle.stop - middle.start) +
                     whole[middle.stop:])
    with FrameSource(str(path)) as source:
        with pytest.raises(ValueError, match=r'ended after \d+ of 20 frames'):
            for _ in source:
                pass
