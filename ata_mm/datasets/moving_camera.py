# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Textured scenes seen by a moving camera, as arrays.

The scene is self-similar: it has the same kind of detail at every place, in
every direction and at every scale. So a camera that starts anywhere sees
frames of one and the same distribution wherever it goes, and no single frame
tells how it moves. Opposite classes are time reversals of each other.
"""
from typing import Sequence

import cv2
import numpy as np

CLASSES = ('pan left', 'pan right', 'pan up', 'pan down', 'zoom in',
           'zoom out', 'roll clockwise', 'roll anticlockwise')

# Camera velocity (x, y, log scale, roll) of each class, in units of its
# speed. The image's y axis points down. A larger scale shows more of the
# scene, so zooming in lowers it.
_VELOCITIES = np.array([(-1, 0, 0, 0), (1, 0, 0, 0), (0, -1, 0, 0),
                        (0, 1, 0, 0), (0, 0, -1, 0), (0, 0, 1, 0),
                        (0, 0, 0, 1), (0, 0, 0, -1)], np.float64)

_TILE = 128  # side of the periodic texture, in texels
_SHAPES = 60  # ellipses in it
_OCTAVES = 2  # octaves of detail in view at any time
_JITTER = 0.5  # px a frame, standard deviation of each of the four motions


def render_clip(
    rng: np.random.Generator,
    label: int,
    num_frames: int = 16,
    size: Sequence[int] = (64, 48),
    speed: Sequence[float] = (4., 8.)
) -> np.ndarray:
    r"""Render one clip of a random scene, seen by a moving camera.

    The speed :math:`v` of a clip is drawn uniformly from ``speed``. A pan
    moves the view by :math:`v` pixels a frame. With :math:`\rho =
    \sqrt{W^2 + H^2} / 2`, the distance from the centre of the view to its
    corners, a zoom multiplies the scale by :math:`e^{\pm v / \rho}` and a
    roll turns the view by :math:`\pm v / \rho` radians a frame, so that the
    corners move at about :math:`v`, and the centre stays. All four motions
    jitter on top of that; light and contrast vary, and the pixels are noisy.

    Args:
        rng (np.random.Generator): Source of all randomness.
        label (int): Index into ``CLASSES``, which say how the camera moves.
        num_frames (int): Number of frames T. Defaults to 16.
        size (Sequence[int]): Width W and height H, in pixels.
            Defaults to (64, 48).
        speed (Sequence[float]): Lowest and highest speed, in pixels a frame.
            Defaults to (4., 8.).

    Returns:
        np.ndarray: RGB frames (T, H, W, 3), uint8.

    Raises:
        ValueError: If ``label`` is not the index of a class.
    """
    if not 0 <= label < len(CLASSES):
        raise ValueError(f'label must be in 0..{len(CLASSES) - 1}, one of '
                         f'{CLASSES}, but got {label}.')
    velocity = _VELOCITIES[label] * rng.uniform(*speed)
    path = _camera_path(rng, velocity, num_frames, size)
    return _expose(rng, _film(rng, _texture(rng), path, size))


def _camera_path(rng, velocity, num_frames, size):
    """Centres (T, 2) in units of the scene, log2 scales (T,), rolls (T,)."""
    rho = np.hypot(*size) / 2
    steps = rng.normal(velocity, _JITTER, (num_frames - 1, 4))  # px
    scale = np.cumsum(np.r_[rng.uniform(), steps[:, 2] / rho / np.log(2)])
    roll = np.cumsum(np.r_[rng.uniform(0, 2 * np.pi), steps[:, 3] / rho])
    # A step is taken at the mean pose of its two frames, so that a path of
    # one class, walked backwards, is a path of the opposite class.
    mid_scale = 2**((scale[1:] + scale[:-1]) / 2)
    mid_roll = (roll[1:] + roll[:-1]) / 2
    step = mid_scale * np.exp(1j * mid_roll) * (steps[:, 0] + 1j * steps[:, 1])
    centre = np.cumsum(np.r_[0, step])
    return np.column_stack([centre.real, centre.imag]), scale, roll


def _texture(rng):
    """A periodic tile of smooth coloured noise and shapes, of zero mean and
    unit variance: (_TILE, _TILE, 3), float32."""
    noise = rng.standard_normal((_TILE, _TILE, 3), np.float32)
    noise = cv2.copyMakeBorder(noise, 8, 8, 8, 8, cv2.BORDER_WRAP)
    tile = cv2.GaussianBlur(noise, (0, 0), 2)[8:-8, 8:-8].copy()
    tile /= tile.std()
    for _ in range(_SHAPES):  # clear of the edges, to keep it periodic
        place, axes = rng.uniform(8, _TILE - 8, 2), rng.uniform(4, 14, 2)
        cv2.ellipse(tile, (place, axes, rng.uniform(0, 180)),
                    rng.normal(0, 1.5, 3), -1)
    # Video keeps less detail of colour than of grey.
    tile = cv2.GaussianBlur(0.5 * tile + tile[..., :1], (0, 0), 0.7)
    tile -= tile.mean((0, 1))
    return tile / tile.std()


def _film(rng, tile, path, size):
    """The scene along the path: (T, H, W, 3), float32, unit variance.

    The scene is a sum of octaves. Octave k is the tile, enlarged 2**k times.
    """
    scales = path[1]
    octaves = range(
        int(np.floor(scales.min())) + 1,
        int(np.ceil(scales.max())) + _OCTAVES)
    frames = np.zeros((len(scales), size[1], size[0], 3), np.float32)
    for octave in octaves:
        offset = rng.uniform(0, _TILE, 2)  # each shows another part of it
        for frame, centre, scale, roll in zip(frames, *path):
            level = octave - scale
            if 0 < level < _OCTAVES:
                # The squares of the weights of all octaves in view add up to
                # one, so that detail comes and goes unnoticed.
                weight = np.sin(np.pi * level / _OCTAVES) * (2 / _OCTAVES)**.5
                place = offset + centre * 2.**(1 - octave)
                frame += weight * _view(tile, place, 2.**(1 - level), roll,
                                        size)
    return frames


def _view(tile, centre, scale, roll, size):
    """The tile around ``centre`` (in texels), ``scale`` texels a pixel."""
    cos, sin = scale * np.cos(roll), scale * np.sin(roll)
    matrix = np.array([[cos, -sin], [sin, cos]])
    shift = centre % _TILE - matrix @ ((np.array(size) - 1) / 2)
    return cv2.warpAffine(
        tile,
        np.column_stack([matrix, shift]),
        tuple(size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP)


def _expose(rng, frames):
    """Frames of unit variance to uint8, with changing light and noise."""
    shape = frames.shape[:3] + (1, )
    light = rng.uniform(107, 147) + rng.normal(0, 4, (len(frames), 1, 1, 1))
    frames = frames * np.float32(rng.uniform(40, 50))
    frames += light + 2 * rng.standard_normal(shape, np.float32)
    return np.clip(frames, 0, 255, out=frames).astype(np.uint8)
