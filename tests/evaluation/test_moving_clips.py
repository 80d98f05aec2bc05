# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import cv2
import numpy as np
import pytest

from ata_mm.datasets import camera_poses
from ata_mm.evaluation.moving_clips import (
    move_photo,
    pan_poses,
    render_motion,
    rotation_poses,
    stereo_clips,
    zoom_poses,
)

SIZE = 64


@pytest.fixture(scope='module')
def photo():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (30, 40, 3), np.uint8)
    return cv2.resize(noise, (400, 300), interpolation=cv2.INTER_CUBIC)


def likeness(clip, target):
    """Correlation of frame 0 and what the truth says is it in another."""
    grid = SIZE, SIZE  # patches of a pixel
    moved = clip.follow(grid, 0, target).reshape(*grid, 2)
    frames = clip.frames.mean(-1).astype(np.float32)
    row, column = np.moveaxis(moved, -1, 0).astype(np.float32)
    warped = cv2.remap(frames[target], column, row, cv2.INTER_LINEAR)
    inside = ((moved >= 0) & (moved <= SIZE - 1)).all(-1)
    return np.corrcoef(frames[0][inside], warped[inside])[0, 1]


POSES = {
    'pan': pan_poses((2.5, -1.0), 3, SIZE),
    'zoom in': zoom_poses(1.1, 3, SIZE),
    'zoom out': zoom_poses(0.9, 3, SIZE),
    'rotation': rotation_poses(8.0, 3, SIZE),
}


@pytest.mark.parametrize('motion', POSES)
def test_photos_move_as_the_truth_says(photo, motion):
    clip = move_photo(photo, POSES[motion], SIZE, quality=95)
    assert clip.frames.shape == (3, SIZE, SIZE, 3)
    assert likeness(clip, 2) > 0.98


def test_pans_have_the_given_velocity(photo):
    clip = move_photo(photo, POSES['pan'], SIZE)
    step = clip.follow((8, 8), 0, 1) - clip.follow((8, 8), 0, 0)
    np.testing.assert_allclose(step, [[-1 / 8, 2.5 / 8]] * 64)


def test_zooms_grow_by_their_factor(photo):
    clip = move_photo(photo, POSES['zoom in'], SIZE)
    corner = clip.follow((8, 8), 0, 2)[0] - 3.5
    np.testing.assert_allclose(corner, [-3.5 * 1.1**2] * 2)


def test_rotations_are_anticlockwise(photo):
    clip = move_photo(photo, rotation_poses(90, 2, SIZE), SIZE)
    top_right = clip.follow((8, 8), 0, 1)[7]
    np.testing.assert_allclose(top_right, [0, 0], atol=1e-9)


def test_compression_and_noise_change_the_frames(photo):
    plain, coarse, noisy = (
        move_photo(photo, POSES['pan'], SIZE, **options).frames.astype(float)
        for options in (dict(quality=95), dict(quality=20), dict(noise=25.0))
    )
    assert np.abs(coarse - plain).mean() > 2
    assert np.abs(noisy - plain).mean() > 8


def test_an_occluder_is_drawn_where_the_truth_has_it(photo):
    black = np.zeros_like(photo)
    clip = move_photo(photo, POSES['pan'], SIZE, quality=95, occluder=black)
    dark = clip.frames[1].mean(-1) < 30
    assert dark[20:44, 20:44].mean() > 0.9 > dark.mean() * 3
    hidden = np.isinf(clip.follow((8, 8), 0, 1)).all(1).reshape(8, 8)
    assert hidden[3:5, 3:5].all() and not hidden[:, [0, 7]].any()


@pytest.mark.parametrize('rendered_size', [SIZE // 2, 2 * SIZE])
@pytest.mark.parametrize('label', [0, 3, 4, 7])
def test_rendered_scenes_move_as_the_truth_says(label, rendered_size):
    clip = render_motion(0, label, 3, SIZE, 3.0, rendered_size)
    assert likeness(clip, 1) > 0.9


def test_pixels_of_rendered_scenes_cover_those_that_they_were_made_of():
    clip = render_motion(0, 4, 2, SIZE, 3.0, 2 * SIZE)
    rng, size = np.random.default_rng(0), (2 * SIZE, 2 * SIZE)
    rendered = camera_poses(rng, 4, 2, size, (6.0, 6.0))
    np.testing.assert_allclose(
        clip.layers[0].poses @ [0, 0, 1], rendered @ [0.5, 0.5, 1]
    )


def test_rendered_pans_have_the_given_speed():
    clip = render_motion(0, 1, 9, SIZE, 4.0, 2 * SIZE)  # to the right
    path = clip.follow((8, 8), 0, 8)[27] - [3, 3]
    np.testing.assert_allclose(path, [0, -4], atol=0.4)


@pytest.fixture
def views():
    left = np.arange(100 * 150 * 3).reshape(100, 150, 3) % 251
    return left.astype(np.uint8), np.roll(left, -6, 1).astype(np.uint8)


def test_stereo_clips_cover_the_pair(views):
    clips = stereo_clips(*views, np.full((100, 150), 6.0), size=64)
    assert len(clips) == 2 * 3
    np.testing.assert_array_equal(clips[0].frames[0], views[0][:64, :64])
    np.testing.assert_array_equal(clips[-1].frames[1], views[1][-64:, -64:])


def test_disparity_is_resized_with_the_views(views):
    clips = stereo_clips(*views, np.full((100, 150), 6.0), 64, scale=2.0)
    assert len(clips) == 4 * 5
    assert (clips[0].disparity == 12).all()


def test_views_smaller_than_a_clip_are_an_error(views):
    with pytest.raises(ValueError, match='64x64 pixels, got 50x75'):
        stereo_clips(*views, np.zeros((100, 150)), 64, scale=0.5)
