# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import ata_mm  # noqa: F401

import cv2
import numpy as np
import pytest
from mmaction.registry import TRANSFORMS
from mmengine.dataset import Compose

from ata_mm.datasets import Layer, transforms

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


@pytest.fixture
def cached(video_root):
    transform = TRANSFORMS.build(dict(type='CachedVideo', height=24))
    return transform, dict(filename=str(video_root / '0.mp4'))


def test_whole_video_is_decoded_and_shrunk(cached):
    transform, results = cached
    results = transform(results)
    assert results['array'].shape == (20, 24, 32, 3)
    assert results['total_frames'] == 20


def test_video_is_decoded_once(cached, monkeypatch):
    transform, results = cached
    first = transform(dict(results))['array']
    monkeypatch.setattr(transforms, 'open_video', None)
    assert np.array_equal(transform(dict(results))['array'], first)


def test_flips_in_place_leave_the_cache_alone(cached):
    transform, results = cached
    first = transform(dict(results))['array'].copy()
    steps = [
        transform,
        dict(type='SampleFrames', clip_len=4),
        dict(type='ArrayDecode'),
        dict(type='CenterCrop', crop_size=16),
        dict(type='Flip', flip_ratio=1.0),
    ]
    Compose(steps)(dict(results, start_index=0, modality='RGB'))
    assert np.array_equal(transform(dict(results))['array'], first)


def test_cached_video_without_its_suffix(cached, video_root):
    transform, _ = cached
    results = transform(dict(filename=str(video_root / '0')))
    assert results['total_frames'] == 20


def positions(frame_inds, layers, size=(16, 8), shape=(4, 8)):
    """The last two channels of frames, (T, *shape, 2)."""
    results = dict(
        array=np.zeros((6, *shape, 3), np.uint8),
        frame_inds=np.array(frame_inds),
        layers=lambda: layers,
        size=size,
        modality='RGB',
    )
    transform = TRANSFORMS.build(dict(type='ArrayDecodeWithPositions'))
    return np.stack(transform(results)['imgs'])[..., 3:]


def panning(step):
    """Poses of a plane that moves right by step pixels a frame."""
    poses = np.tile(np.eye(2, 3), (6, 1, 1))
    poses[:, 0, 2] = -step * np.arange(6)
    return poses


def test_pixels_have_their_position_in_the_first_frame():
    found = positions([1, 2, 4], [Layer(panning(4))])
    rows, columns = np.mgrid[:4, :8]
    assert np.allclose(found[0], np.stack([columns, rows], -1), atol=1e-4)
    # 4 pixels of the video are 2 of the frames.
    assert np.allclose(found[1] - found[0], (-2, 0), atol=1e-4)
    assert np.allclose(found[2] - found[0], (-6, 0), atol=1e-4)


def test_positions_on_different_planes_are_far_apart():
    planes = [Layer(panning(0)), Layer(panning(4), extent=(6, 100))]
    found = positions([0, 1], planes)
    near = found[..., 0] > 1000
    assert near[0, 0].tolist() == [True] * 3 + [False] * 5
    assert near[1, 0].tolist() == [False] * 2 + [True] * 3 + [False] * 3
