# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import sys
from pathlib import Path

import pytest
from mmaction.datasets.transforms import DecordDecode, DecordInit
from mmengine.dataset import Compose

from ata_mm.compat import decord_frames

sys.path.append(str(Path(__file__).parents[1] / 'video'))
from made import make_video, number_of  # noqa: E402


def read(path, **options):
    steps = [
        dict(type='DecordInit'),
        dict(type='SampleFrames', clip_len=8, num_clips=2, test_mode=True),
        dict(type='DecordDecode', **options),
    ]
    return Compose(steps)(dict(filename=str(path), start_index=0))


@pytest.mark.parametrize('name', ['a.mp4', 'a.avi', 'a.ts'])
def test_frames_are_those_asked_for(name, tmp_path):
    results = read(make_video(tmp_path / name))
    numbers = [number_of(frame) for frame in results['imgs']]
    assert numbers == results['frame_inds'].tolist()
    assert results['avg_fps'] == 25


def test_key_frames_are_returned_on_request(tmp_path):
    fixed = {'x264-params': 'scenecut=0'}
    path = make_video(tmp_path / 'a.mp4', gop=10, options=fixed)
    results = read(path, mode='efficient')
    assert {number_of(frame) for frame in results['imgs']} <= {0, 10, 20, 30}


def test_stock_transforms_are_wrong_without_the_shim(tmp_path):
    """So that the shim goes when decord is mended."""
    data = dict(filename=str(make_video(tmp_path / 'a.avi')), start_index=0)
    init, decode = DecordInit(), DecordDecode()
    results = DecordInit.transform.__wrapped__(init, data)
    stock = DecordDecode._decord_load_frames.__wrapped__
    frames = stock(decode, results['video_reader'], [30, 31, 32])
    assert [number_of(frame) for frame in frames] != [30, 31, 32]


def test_shim_is_applied_once():
    assert not decord_frames.needed()
