# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import decord
import numpy as np
import pytest

from ata_mm.datasets import PhotoMotionDataset
from ata_mm.datasets.photo_motion import PHOTOS, _weights
from ata_mm.datasets.rendering import CLASSES

pytest.importorskip('skimage')
pytest.importorskip('sklearn')

OPTIONS = dict(num_frames=10, size=(128, 96), speed=(6.0, 6.0))
PIXELS = np.stack(np.meshgrid(np.arange(128), np.arange(96)), -1)


def test_no_photo_is_in_two_splits():
    names = [name for split in PHOTOS.values() for name in split]
    assert len(set(names)) == len(names)
    assert PhotoMotionDataset.scenes('test') == dict(photos=PHOTOS['test'])


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


@pytest.mark.parametrize('label', [4, 5])
def test_zooms_end_with_as_much_detail_as_they_begin(label):
    own = dict(OPTIONS, speed=(16.0, 16.0), photos=('astronaut',))
    clips = [
        PhotoMotionDataset.render(np.random.default_rng(i), label, **own)
        for i in range(200)
    ]
    detail = np.array(
        [
            [np.abs(np.diff(frame.mean(-1), axis=1)).mean() for frame in ends]
            for ends in (clip[[0, -1]].astype(float) for clip in clips)
        ]
    )
    first, last = detail.mean(0)
    assert abs(first - last) < 3 * detail.std() * (2 / len(clips)) ** 0.5


def test_weights_of_all_copies_sum_to_one():
    scales = np.linspace(-1, 5, 61)
    total = sum(_weights(scales - 4 * copy) for copy in range(-1, 3))
    assert np.allclose(total, 1)


def test_videos_of_a_split_have_its_photos(tmp_path):
    dataset = PhotoMotionDataset(
        str(tmp_path), 'test', [], num_videos=4, **OPTIONS
    )
    video = dataset[0]
    rendered = PhotoMotionDataset.render(
        dataset._rng_of(0), video['label'], **OPTIONS, photos=PHOTOS['test']
    )
    frame = decord.VideoReader(video['filename'])[3].asnumpy()
    assert np.abs(frame - rendered[3].astype(float)).mean() < 8
