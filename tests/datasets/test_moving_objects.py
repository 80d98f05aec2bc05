# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from ata_mm.datasets import MovingObjectsDataset, shown_layer
from ata_mm.datasets.moving_objects import _draw_path

OPTIONS = dict(num_frames=10, size=(64, 48), speed=(4.0, 4.0))
PIXELS = np.stack(np.meshgrid(np.arange(64), np.arange(48)), -1)


def layers(seed, label=0):
    rng = np.random.default_rng(seed)
    return MovingObjectsDataset.layers(rng, label, **OPTIONS)


def test_classes_are_pairs_of_legs():
    names = MovingObjectsDataset.METAINFO['classes']
    assert len(set(names)) == 8
    assert names[:3] == (
        'right, then down',
        'right, then up',
        'down, then left',
    )


@pytest.mark.parametrize('label', range(8))
def test_path_has_the_legs_of_its_class(label):
    directions = dict(right=(1, 0), down=(0, 1), left=(-1, 0), up=(0, -1))
    path = _draw_path(np.random.default_rng(0), label, 10, speed=8.0)
    first, then = MovingObjectsDataset.METAINFO['classes'][label].split(
        ', then '
    )
    assert np.abs(path[3] - 24 * np.array(directions[first])).max() < 4
    last_leg = path[9] - path[6]
    assert np.abs(last_leg - 24 * np.array(directions[then])).max() < 4


@pytest.mark.parametrize('seed', range(3))
def test_true_motion_finds_the_same_content(seed):
    rng = np.random.default_rng(seed)
    frames = MovingObjectsDataset.render(rng, 0, **OPTIONS).astype(float)
    planes = layers(seed)
    shown = shown_layer(planes, PIXELS, 2)
    errors = []
    for index, plane in enumerate(planes):
        own = PIXELS[shown == index]
        moved = plane.move(own, 2, 5)
        there = np.rint(moved).astype(int)
        inside = ((there >= 0) & (there < (64, 48))).all(1)
        visible = shown_layer(planes, moved, 5) == index
        (x, y), (u, v) = (p[inside & visible].T for p in (own, there))
        errors.append(np.abs(frames[2, y, x] - frames[5, v, u]))
    assert np.concatenate(errors).mean() < 0.4 * in_place_error(frames)


def in_place_error(frames):
    return np.abs(frames[2] - frames[5]).mean()


@pytest.mark.parametrize('frame', [0, 9])
def test_objects_are_everywhere_in_every_frame(frame):
    shown = [
        shown_layer(layers(seed), PIXELS[::4, ::4], frame) > 0
        for seed in range(200)
    ]
    share = np.mean(shown, 0)  # of each place
    halves = share[:, :8], share[:, 8:], share[:6], share[6:]
    assert [half.mean() for half in halves] == pytest.approx(
        [share.mean()] * 4, abs=0.04
    )
    assert 0.35 < share.mean() < 0.65


def test_background_moves_along_a_path_of_its_own():
    origin = np.zeros((1, 2))
    differences = []
    for seed in range(20):
        moved = [plane.move(origin, 0, 9) for plane in layers(seed)[:2]]
        differences.append(np.abs(moved[0] - moved[1]).max())
    # The speed is the same, and one path of four ends where it does.
    assert np.mean(np.array(differences) > 12) > 0.6
