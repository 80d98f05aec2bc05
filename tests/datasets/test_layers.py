# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np

from ata_mm.datasets import Layer


def turning():
    """A plane that turns and grows."""
    angle, scale = 0.1 * np.arange(4), 1.1 ** np.arange(4)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    zero = np.zeros(4)
    return Layer(
        np.stack([cos, -sin, zero, sin, cos, zero], -1).reshape(4, 2, 3)
    )


def test_a_crop_of_smaller_frames_shows_the_same_motion():
    plane, points = turning(), np.array([[0.0, 0], [3, 5]])
    seen = plane.seen([3, 1], scale=2, corner=(4, 1))

    def in_frame(pixels):
        return (pixels + (4, 1) + 0.5) * 2 - 0.5

    moved = in_frame(seen.move(points, 0, 1))
    assert np.allclose(moved, plane.move(in_frame(points), 3, 1))
