# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import cv2
import numpy as np
import pytest

from ata_mm.datasets import CLASSES, camera_poses, render_clip

SIZE = 128, 96
RHO = np.hypot(*SIZE) / 2


def grey_clip(name, seed, speed):
    rng = np.random.default_rng(seed)
    clip = render_clip(rng, CLASSES.index(name), 8, SIZE, (speed, speed))
    return clip.mean(-1).astype(np.float32)


def warp_back(frame, zoom, roll):
    """Undo a zoom into the scene and a clockwise roll of the camera."""
    centre = (np.array(SIZE) - 1) / 2
    # Positive angles of OpenCV are anticlockwise.
    matrix = cv2.getRotationMatrix2D(centre, -np.degrees(roll), 1 / zoom)
    return cv2.warpAffine(frame, matrix, SIZE)


def likeness(first, second):
    """Correlation of the centres of two frames, at the best shift of 2 px."""
    middle = first[36:60, 48:80]
    around = second[34:62, 46:82]
    return cv2.matchTemplate(around, middle, cv2.TM_CCOEFF_NORMED).max()


@pytest.mark.parametrize(
    'name, direction',
    [
        ('pan left', (-1, 0)),
        ('pan right', (1, 0)),
        ('pan up', (0, -1)),
        ('pan down', (0, 1)),
    ],
)
def test_pans_move_the_view_at_the_given_speed(name, direction):
    clip = grey_clip(name, seed=0, speed=6.0)
    window = cv2.createHanningWindow(SIZE, cv2.CV_32F)
    shifts = [
        cv2.phaseCorrelate(first, second, window)[0]
        for first, second in zip(clip, clip[1:])
    ]
    # Content moves against the camera.
    camera = -np.median(shifts, 0)
    assert np.allclose(camera, 6 * np.array(direction), atol=1.0)


@pytest.mark.parametrize(
    'name, zoom, roll',
    [
        ('zoom in', 1, 0),
        ('zoom out', -1, 0),
        ('roll clockwise', 0, 1),
        ('roll anticlockwise', 0, -1),
    ],
)
def test_zoom_and_roll_are_undone_by_their_inverse(name, zoom, roll):
    speed = 12.0
    clip = grey_clip(name, seed=1, speed=speed)
    angle = speed / RHO

    def mean_likeness(sign):
        return np.mean(
            [
                likeness(
                    first,
                    warp_back(
                        second,
                        np.exp(sign * zoom * angle),
                        sign * roll * angle,
                    ),
                )
                for first, second in zip(clip, clip[1:])
            ]
        )

    assert mean_likeness(1) > 0.8 > mean_likeness(-1) + 0.1


def test_the_same_generator_gives_the_same_clip():
    first, second = (grey_clip('zoom in', 3, 5.0) for _ in range(2))
    assert np.array_equal(first, second)


def test_single_frames_look_the_same_in_every_class():
    """Coarse and fine detail and brightness of last frames, by class."""
    statistics = np.array(
        [
            [last_frame_statistics(label, seed) for seed in range(24)]
            for label in range(8)
        ]
    )
    means = statistics.mean(1)
    errors = statistics.std((0, 1)) / 24**0.5
    assert np.abs((means - means.mean(0)) / errors).max() < 3.5


def last_frame_statistics(label, seed):
    frame = render_clip(np.random.default_rng((seed, label)), label, 8)[
        -1
    ].mean(-1)
    coarse = cv2.blur(frame, (8, 8))
    return (
        frame.mean(),
        np.log(frame.std()),
        np.log(coarse.std()),
        np.log(np.abs(np.diff(frame, axis=0)).mean()),
        np.log(np.abs(np.diff(frame, axis=1)).mean()),
    )


@pytest.mark.parametrize('label', range(8))
def test_poses_are_those_of_the_rendered_clip(label):
    """What two frames show at the same point of the scene is the same."""
    options = (label, 3, SIZE, (6.0, 6.0))
    clip = render_clip(np.random.default_rng(0), *options).mean(-1)
    first, _, last = camera_poses(np.random.default_rng(0), *options)
    to_last = np.vstack([cv2.invertAffineTransform(last), [0, 0, 1]])
    matrix = (to_last @ np.vstack([first, [0, 0, 1]]))[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(
        clip[2].astype(np.float32), matrix, SIZE, flags=flags
    )
    centre = slice(24, 72), slice(32, 96)
    assert np.corrcoef(moved[centre].flat, clip[0][centre].flat)[0, 1] > 0.9


def test_a_label_that_is_no_class_is_an_error():
    with pytest.raises(ValueError, match='label in 0..7.*got 8'):
        render_clip(np.random.default_rng(0), 8)
