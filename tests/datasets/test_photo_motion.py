# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import cv2
import decord
import numpy as np
import pytest
from scipy.stats import kstest

from ata_mm.datasets import PhotoMotionDataset, photo_motion
from ata_mm.datasets.photo_motion import SPLITS, _copies, _pyramid, _view
from ata_mm.datasets.rendering import CLASSES, camera_poses

pytest.importorskip('skimage')
pytest.importorskip('sklearn')

OPTIONS = dict(num_frames=10, size=(128, 96), speed=(6.0, 6.0))
PIXELS = np.stack(np.meshgrid(np.arange(128), np.arange(96)), -1)


def test_no_photo_is_in_two_splits():
    names = [name for split in SPLITS.values() for name in split]
    assert len(set(names)) == len(names)
    assert PhotoMotionDataset.scenes('test') == dict(photos=SPLITS['test'])


@pytest.mark.parametrize('label', [0, 3, 4, 6])  # pans, a zoom, a roll
def test_true_motion_finds_the_same_content(label):
    own = dict(OPTIONS, photos=('astronaut',))
    frames = PhotoMotionDataset.render(np.random.default_rng(1), label, **own)
    (plane,) = PhotoMotionDataset.layers(
        np.random.default_rng(1), label, **own
    )
    moved = np.rint(plane.move(PIXELS, 2, 5)).astype(int)
    inside = ((moved >= 0) & (moved < (128, 96))).all(-1)
    (x, y), (u, v) = PIXELS[inside].T, moved[inside].T
    frames = frames.astype(float)
    along = np.abs(frames[2, y, x] - frames[5, v, u]).mean()
    assert along < 0.5 * np.abs(frames[2] - frames[5]).mean()


def test_every_class_starts_with_the_same_frame():
    first = [
        PhotoMotionDataset.render(np.random.default_rng(2), label, **OPTIONS)[
            0
        ]
        for label in range(len(CLASSES))
    ]
    assert all(np.array_equal(frame, first[0]) for frame in first)


@pytest.mark.parametrize('label', [0, 4, 5, 6])  # a pan, zooms, a roll
def test_the_last_frame_has_any_position_direction_and_scale(label):
    found = []
    for seed in range(500):
        rng = np.random.default_rng(seed)
        poses = camera_poses(rng, label, 10, (128, 96), (16.0, 16.0))
        for weights, views in _copies(rng, poses, (64, 64), (128, 96)):
            if weights[-1] == 1:
                a, b = views[-1][:, 0]
                middle = views[-1] @ (63.5, 47.5, 1) % 128 / 128
                direction = np.arctan2(b, a) / (2 * np.pi) % 1
                scale = np.log2(np.hypot(a, b) / (64 / 96) * 8)
                found.append([*middle, direction, (scale - 0.5) / 3])
    for values in np.array(found).T:
        assert kstest(values, 'uniform').pvalue > 1e-3


def test_frames_of_a_white_photo_are_white(monkeypatch):
    white = np.full((64, 64, 3), 255, np.uint8)
    monkeypatch.setattr(photo_motion, '_pyramid', lambda name: [white])
    for label in (4, 5):
        rng = np.random.default_rng(label)
        frames = PhotoMotionDataset.render(rng, label, **OPTIONS)
        assert frames.min() == 255


def test_a_reflection_is_at_the_same_place_at_every_level():
    levels = _pyramid('chelsea')
    views = []
    for scale in (1.999, 2.001):  # photo pixels a pixel: of level 0 and of 1
        beyond = levels[0].shape[1] + 20
        pose = np.array([[scale, 0, beyond], [0, scale, 40]])
        views.append(_view(levels, pose, (48, 48)).astype(np.float32))
    (x, y), _ = cv2.phaseCorrelate(*(v.mean(-1) for v in views))
    assert max(abs(x), abs(y)) < 0.2


def test_videos_of_a_split_have_its_photos(tmp_path):
    dataset = PhotoMotionDataset(
        str(tmp_path), 'test', [], num_videos=4, **OPTIONS
    )
    video = dataset[0]
    rendered = PhotoMotionDataset.render(
        dataset._rng_of(0), video['label'], **OPTIONS, photos=SPLITS['test']
    )
    frame = decord.VideoReader(video['filename'])[3].asnumpy()
    assert np.abs(frame - rendered[3].astype(float)).mean() < 8
