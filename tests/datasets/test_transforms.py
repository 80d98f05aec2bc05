# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import ata_mm  # noqa: F401

import cv2
import numpy as np
import pytest
from mmaction.registry import TRANSFORMS
from mmengine.dataset import Compose

OFF = dict(brightness=(1.0, 1.0), contrast=(1.0, 1.0), saturation=(1.0, 1.0))


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (12, 16, 3), np.uint8) for _ in range(2)]


def jitter(frames, **kwargs):
    transform = TRANSFORMS.build(dict(type='SafeColorJitter', **kwargs))
    return transform(dict(imgs=list(frames)))['imgs']


def expected_hue(frame, factor):
    """The rule of mmaction, in float."""
    hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
    hue = (hsv[..., 0].astype(float) + int(factor * 255)) % 180
    hsv[..., 0] = np.round(hue)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


@pytest.mark.parametrize('hue', [-0.5, -0.1, 0.1, 0.5])
def test_hue_follows_the_rule_in_float(frames, hue):
    out = jitter(frames, hue=(hue, hue), **OFF)
    for frame, shifted in zip(frames, out):
        np.testing.assert_array_equal(shifted, expected_hue(frame, hue))


def test_random_calls_keep_type_and_shape(frames):
    np.random.seed(0)
    for _ in range(20):
        for frame in jitter(frames):
            assert frame.dtype == np.uint8 and frame.shape == (12, 16, 3)


def test_same_as_mmaction_where_hue_stays(frames):
    args = dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.0)
    np.random.seed(0)
    ours = jitter(frames, **args)
    np.random.seed(0)
    transform = TRANSFORMS.build(dict(type='ColorJitter', **args))
    theirs = transform(dict(imgs=list(frames)))['imgs']
    np.testing.assert_array_equal(ours, theirs)


def test_one_draw_for_the_whole_clip(frames):
    first, second = jitter([frames[0], frames[0].copy()])
    np.testing.assert_array_equal(first, second)


def read(path, **options):
    steps = [
        dict(type='VideoInit', **options),
        dict(type='SampleFrames', clip_len=4, num_clips=2, test_mode=True),
        dict(type='VideoDecode'),
    ]
    return Compose(steps)(dict(filename=str(path), start_index=0))


@pytest.mark.parametrize('decoder', ['auto', 'pyav', 'opencv'])
def test_decoders_give_the_same_frames(decoder, video_root):
    results = read(video_root / '0.mp4', decoder=decoder)
    expected = read(video_root / '0.mp4')
    assert np.array_equal(results['imgs'], expected['imgs'])
    assert results['total_frames'] == 20 and results['avg_fps'] == 10
    assert results['img_shape'] == results['original_shape'] == (48, 64)


def test_name_without_its_suffix(video_root):
    assert len(read(video_root / '0')['imgs']) == 8


def test_files_of_another_backend(video_root):
    results = read(video_root / '0.mp4', backend_args=dict(backend='local'))
    assert len(results['imgs']) == 8 and results['video_reader'] is None
