# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import sys
from pathlib import Path

import decord
import numpy as np
import pytest
from mmaction.datasets.transforms import DecordDecode, DecordInit
from mmengine.dataset import Compose

from ata_mm.compat import decord_frames

sys.path.append(str(Path(__file__).parents[1] / 'video'))
from made import make_video, number_of


def read(path):
    steps = [
        dict(type='DecordInit'),
        dict(type='SampleFrames', clip_len=8, num_clips=2, test_mode=True),
        dict(type='DecordDecode'),
    ]
    return Compose(steps)(dict(filename=str(path), start_index=0))


@pytest.mark.parametrize('name', ['a.mp4', 'a.avi', 'a.ts'])
def test_frames_are_those_asked_for(name, tmp_path):
    results = read(make_video(tmp_path / name))
    numbers = [number_of(frame) for frame in results['imgs']]
    assert numbers == results['frame_inds'].tolist()
    assert results['avg_fps'] == 25


def test_fast_seeking_stays_that_of_decord(tmp_path):
    fixed = {'x264-params': 'scenecut=0'}
    path = make_video(tmp_path / 'a.mp4', gop=10, options=fixed)
    steps = [dict(type='DecordInit'), dict(type='DecordDecode')]
    steps[1]['mode'] = 'efficient'
    data = dict(filename=str(path), frame_inds=np.array([3, 14, 25]))
    results = Compose(steps)(data)
    reader, expected = decord.VideoReader(str(path), num_threads=1), []
    for index in (3, 14, 25):
        reader.seek(index)
        expected.append(number_of(reader.next().asnumpy()))
    assert [number_of(frame) for frame in results['imgs']] == expected
    assert expected != [3, 14, 25]


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
