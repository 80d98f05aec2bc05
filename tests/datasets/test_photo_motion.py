# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from ata_mm.datasets import PhotoMotionDataset
from ata_mm.datasets.photo_motion import PHOTOS

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


def test_videos_of_a_split_have_its_photos(tmp_path):
    dataset = PhotoMotionDataset(
        str(tmp_path), 'test', [], num_videos=4, **OPTIONS
    )
    video = dataset[0]
    (plane,) = video['layers']()
    expected = PhotoMotionDataset.layers(
        dataset._rng_of(0), video['label'], **OPTIONS, photos=PHOTOS['test']
    )
    assert np.array_equal(plane.poses, expected[0].poses)
