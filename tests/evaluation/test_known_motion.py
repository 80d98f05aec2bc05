# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from ata_mm.datasets import Layer
from ata_mm.evaluation.known_motion import LayeredClip, StereoPair

GRID = 4, 4
SIDE = 8  # pixels of a patch


def translation(*steps):
    """Poses of a plane whose content moves by (x, y) pixels in each frame."""
    poses = np.tile(np.eye(2, 3), (len(steps), 1, 1))
    poses[:, :, 2] = -np.array(steps)
    return poses


def clip(*layers):
    frames = np.zeros((len(layers[0].poses), 32, 32, 3), np.uint8)
    return LayeredClip(frames, layers)


def patches():
    return np.stack(np.divmod(np.arange(16), 4), 1)


def stereo(disparity):
    return StereoPair(np.zeros((2, 32, 32, 3), np.uint8), disparity)


def test_content_moves_by_patches():
    moved = clip(Layer(translation((0, 0), (8, 4)))).follow(GRID, 0, 1)
    np.testing.assert_allclose(moved, patches() + [0.5, 1])


def test_motion_can_be_followed_from_any_frame_to_any_other():
    moving = clip(Layer(translation((0, 0), (8, 0), (20, 0))))
    np.testing.assert_allclose(moving.follow(GRID, 2, 1), patches() - [0, 1.5])


def test_rotation_around_the_centre_of_the_frame():
    quarter = np.array([[0, 1, 0], [-1, 0, 31]])
    moved = clip(Layer(np.stack([np.eye(2, 3), quarter]))).follow(GRID, 0, 1)
    # To the right of the centre, then below it.
    corner = moved[3]
    np.testing.assert_allclose(sorted(np.abs(corner - 1.5)), [1.5, 1.5])
    assert len({tuple(place) for place in moved.round(6)}) == 16


def test_a_nearer_plane_hides_what_is_behind_it():
    still = translation((0, 0), (0, 0))
    near = Layer(translation((-64, 0), (0, 0)), extent=(15, 31))
    moved = clip(Layer(still), near).follow(GRID, 0, 1)
    hidden = np.isinf(moved).all(1).reshape(GRID)
    assert hidden[:, :2].all() and not hidden[:, 2:].any()


def test_content_of_a_nearer_plane_moves_with_it():
    near = Layer(translation((0, 0), (16, 0)), extent=(15, 31))
    moved = clip(Layer(translation((0, 0), (0, 0))), near).follow(GRID, 0, 1)
    np.testing.assert_allclose(moved[0], [0, 2])
    assert np.isinf(moved[2]).all()


def test_a_patch_of_two_planes_has_no_known_motion():
    near = Layer(translation((0, 0), (16, 0)), extent=(3, 31))
    moved = clip(Layer(translation((0, 0), (0, 0))), near).follow(GRID, 0, 1)
    assert np.isnan(moved[0]).all() and np.isfinite(moved[1]).all()


def test_disparity_moves_content_to_the_left():
    moved = stereo(np.full((32, 32), 4.0)).follow(GRID)
    np.testing.assert_allclose(moved, patches() - [0, 0.5])


def test_unknown_disparity_is_no_known_motion():
    disparity = np.zeros((32, 32))
    disparity[:8, :4] = np.inf
    moved = stereo(disparity).follow(GRID)
    assert np.isnan(moved[0]).all() and np.isfinite(moved[1:]).all()


def test_a_motion_boundary_in_a_patch_is_no_known_motion():
    disparity = np.zeros((32, 32))
    disparity[:, :4] = 5  # to the left, where it hides nothing
    moved = stereo(disparity).follow(GRID)
    assert np.isnan(moved[0]).all() and np.isfinite(moved[1]).all()


def test_what_is_nearer_hides_in_the_right_view():
    disparity = np.zeros((32, 32))
    disparity[:, 16:] = 16
    moved = stereo(disparity).follow(GRID)
    hidden = np.isinf(moved).all(1).reshape(GRID)
    assert hidden[:, :2].all() and not hidden[:, 2:].any()


def test_a_surface_less_than_a_pixel_nearer_hides_nothing():
    disparity = np.zeros((32, 32))
    disparity[:, 1::2] = 0.6  # onto the pixels at their left
    assert np.isfinite(stereo(disparity).follow(GRID)).all()


def test_disparity_has_one_direction():
    with pytest.raises(ValueError, match='source 0 and target 1.*1 and 0'):
        stereo(np.zeros((32, 32))).follow(GRID, 1, 0)
