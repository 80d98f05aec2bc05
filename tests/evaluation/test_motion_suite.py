# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from ata_mm.evaluation.motion_suite import MotionSuite, parse_motion

PHOTOS = [np.full((40, 50, 3), value, np.uint8) for value in (50, 200)]
STEREO = (*PHOTOS, np.zeros((40, 50)))
KINDS = [
    ('pan:0.5', 4),
    ('zoom:1.1', 2),
    ('rotation:5', 2),
    ('camera-pan:1', 8),
    ('camera-zoom:1', 8),
    ('camera-roll:1', 8),
    ('stereo:1', 4),
]


@pytest.fixture
def suite():
    return MotionSuite(PHOTOS, STEREO, size=32, num_frames=3)


@pytest.mark.parametrize('motion, number', KINDS)
def test_each_kind_makes_clips(suite, motion, number):
    clips = suite.clips(motion, 8)
    assert len(clips) == number
    frames = 2 if motion == 'stereo:1' else 3
    assert {clip.frames.shape for clip in clips} == {(frames, 32, 32, 3)}


def test_clips_are_the_same_at_every_call(suite):
    first, second = (suite.clips('camera-pan:1', 8)[1] for _ in range(2))
    np.testing.assert_array_equal(first.frames, second.frames)


def test_speeds_are_in_patches(suite):
    clip = suite.clips('pan:0.5', 8)[0]
    np.testing.assert_allclose(clip.follow((4, 4), 0, 1)[0], [0, 0.5])


def test_photos_take_the_directions_in_turn():
    suite = MotionSuite(PHOTOS, size=32, num_frames=2, angles=(0, 90, 180))
    steps = [c.follow((4, 4), 0, 1)[0] for c in suite.clips('pan:1', 8)]
    np.testing.assert_allclose(
        steps, [[0, 1], [1, 0], [0, -1], [0, 1]], atol=1e-9
    )


def test_an_occluder_is_a_part_of_another_photo():
    suite = MotionSuite(PHOTOS, size=32, num_frames=3, occluder=True)
    frame = suite.clips('zoom:1.1', 8)[0].frames[1]
    assert abs(int(frame[16, 16, 0]) - 200) < 9 > abs(int(frame[0, 0, 0]) - 50)


@pytest.mark.parametrize('motion', ['pan', 'pan:x', 'pan:0', 'shear:1', '1'])
def test_other_motions_are_an_error(motion):
    with pytest.raises(ValueError, match=f'got {motion!r}'):
        parse_motion(motion)


def test_stereo_needs_a_pair():
    with pytest.raises(ValueError, match='got none'):
        MotionSuite(PHOTOS).clips('stereo:1', 8)
