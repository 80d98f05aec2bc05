# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Rendering of textured scenes seen by a moving camera.

The scene is self-similar: it has the same kind of detail at every position, in
every direction and at every scale. The frames of a clip therefore have the
same distribution whatever the camera does, and no single frame reveals its
motion. Opposite classes are time reversals of each other.
"""

from collections.abc import Sequence

import cv2
import numpy as np

CLASSES = (
    'pan left',
    'pan right',
    'pan up',
    'pan down',
    'zoom in',
    'zoom out',
    'roll clockwise',
    'roll anticlockwise',
)

# Camera velocity (x, y, log scale, roll) of each class, in units of its
# speed. The image's y axis points down. A larger scale shows more of the
# scene, so that zooming in lowers it.
_VELOCITIES = np.array(
    [
        (-1, 0, 0, 0),
        (1, 0, 0, 0),
        (0, -1, 0, 0),
        (0, 1, 0, 0),
        (0, 0, -1, 0),
        (0, 0, 1, 0),
        (0, 0, 0, 1),
        (0, 0, 0, -1),
    ],
    np.float64,
)

_TILE = 128  # side of the periodic texture, in texels
_SHAPES = 60  # ellipses in it
_OCTAVES = 2  # octaves of detail in view at any time
_JITTER = 0.5  # px per frame, standard deviation of each of the four motions

# Centres (T, 2) in texels of octave 1, log2 scales (T,), rolls (T,) in
# radians.
CameraPath = tuple[np.ndarray, np.ndarray, np.ndarray]


def render_clip(
    rng: np.random.Generator,
    label: int,
    num_frames: int = 16,
    size: Sequence[int] = (64, 48),
    speed: Sequence[float] = (4.0, 8.0),
) -> np.ndarray:
    r"""Render one clip of a random scene, seen by a moving camera.

    The speed :math:`v` of a clip is drawn uniformly from ``speed``. A pan
    moves the view by :math:`v` pixels per frame. With :math:`\rho =
    \sqrt{W^2 + H^2} / 2`, the distance from the centre of the view to its
    corners, a zoom multiplies the scale by :math:`e^{\pm v / \rho}` and a
    roll turns the view by :math:`\pm v / \rho` radians per frame: the corners
    move at about :math:`v` and the centre stays. All four motions are
    jittered, brightness and contrast vary, and the pixels are noisy.

    Args:
        rng (np.random.Generator): Source of all randomness.
        label (int): Index into ``CLASSES``, the motion of the camera.
        num_frames (int): Number of frames T. Defaults to 16.
        size (Sequence[int]): Width W and height H, in pixels.
            Defaults to (64, 48).
        speed (Sequence[float]): Lowest and highest speed, in pixels per
            frame. Defaults to (4., 8.).

    Returns:
        np.ndarray: RGB frames (T, H, W, 3), uint8.

    Raises:
        ValueError: If ``label`` is not the index of a class.
    """
    # The order of the draws defines the videos: see RenderedDataset.VERSION.
    path = _draw_path(rng, label, num_frames, size, speed)
    return expose(rng, film(rng, draw_texture(rng), path, size))


def camera_poses(
    rng: np.random.Generator,
    label: int,
    num_frames: int = 16,
    size: Sequence[int] = (64, 48),
    speed: Sequence[float] = (4.0, 8.0),
) -> np.ndarray:
    """Return the true motion of the clip that :func:`render_clip` renders.

    Args:
        rng (np.random.Generator): In the same state as for `render_clip`.
        label (int): As of `render_clip`, like the other arguments.
        num_frames (int): Number of frames T. Defaults to 16.
        size (Sequence[int]): Width and height. Defaults to (64, 48).
        speed (Sequence[float]): Lowest and highest speed.
            Defaults to (4., 8.).

    Returns:
        np.ndarray: Affine maps from the pixels (x, y) of each frame to the
        scene, (T, 2, 3): what two frames show at the same point of the scene
        is the same.

    Raises:
        ValueError: If ``label`` is not the index of a class.
    """
    centre, scale, roll = _draw_path(rng, label, num_frames, size, speed)
    views = [_view_matrix(2.0**s, r) for s, r in zip(scale, roll)]
    shift = [c - view @ middle(size) for c, view in zip(centre, views)]
    return np.concatenate([views, np.array(shift)[..., None]], -1)


def _draw_path(
    rng: np.random.Generator,
    label: int,
    num_frames: int,
    size: Sequence[int],
    speed: Sequence[float],
) -> CameraPath:
    """Draw the speed of a clip, and the pose of the camera in each frame."""
    if not 0 <= label < len(CLASSES):
        raise ValueError(
            f'Expected a label in 0..{len(CLASSES) - 1}, the '
            f'index of one of {CLASSES}, got {label}.'
        )
    velocity = _VELOCITIES[label] * rng.uniform(speed[0], speed[1])
    return _camera_path(rng, velocity, num_frames, size)


def _camera_path(
    rng: np.random.Generator,
    velocity: np.ndarray,
    num_frames: int,
    size: Sequence[int],
) -> CameraPath:
    """Draw the pose of the camera in each frame."""
    rho = np.hypot(size[0], size[1]) / 2
    steps = rng.normal(velocity, _JITTER, (num_frames - 1, 4))  # px
    scale = np.cumsum(np.r_[rng.uniform(), steps[:, 2] / rho / np.log(2)])
    roll = np.cumsum(np.r_[rng.uniform(0, 2 * np.pi), steps[:, 3] / rho])
    # Steps are taken at the mean pose of their two frames, so that the time
    # reversal of a path is a path of the opposite class.
    mid_scale = 2 ** ((scale[1:] + scale[:-1]) / 2)
    mid_roll = (roll[1:] + roll[:-1]) / 2
    step = mid_scale * np.exp(1j * mid_roll) * (steps[:, 0] + 1j * steps[:, 1])
    centre = np.cumsum(np.r_[0, step])
    return np.column_stack([centre.real, centre.imag]), scale, roll


def draw_texture(rng: np.random.Generator) -> np.ndarray:
    """Draw a periodic tile of smooth coloured noise and shapes.

    Args:
        rng (np.random.Generator): Source of all randomness.

    Returns:
        np.ndarray: (_TILE, _TILE, 3), float32, of zero mean and unit variance.
    """
    noise = rng.standard_normal((_TILE, _TILE, 3), np.float32)
    wrapped = cv2.copyMakeBorder(noise, 8, 8, 8, 8, cv2.BORDER_WRAP)
    tile = cv2.GaussianBlur(wrapped, (0, 0), 2)[8:-8, 8:-8].copy()
    tile /= tile.std()
    for _ in range(_SHAPES):  # clear of the edges, which keeps it periodic
        centre = rng.uniform(8, _TILE - 8, 2).tolist()
        axes = rng.uniform(4, 14, 2).tolist()
        box = centre, axes, rng.uniform(0, 180)
        cv2.ellipse(tile, box, rng.normal(0, 1.5, 3).tolist(), -1)
    # Video codecs keep less detail of colour than of brightness.
    tile = cv2.GaussianBlur(0.5 * tile + tile[..., :1], (0, 0), 0.7)
    tile -= tile.mean((0, 1))
    return tile / tile.std()


def film(
    rng: np.random.Generator,
    tile: np.ndarray,
    path: CameraPath,
    size: Sequence[int],
) -> np.ndarray:
    """Render the scene along a path.

    The scene is a sum of octaves. Octave k is the tile, enlarged 2**k times.

    Args:
        rng (np.random.Generator): Source of all randomness.
        tile (np.ndarray): As of :func:`draw_texture`.
        path (tuple): Centres (T, 2) in texels of octave 1, log2 scales (T,)
            and rolls (T,) in radians.
        size (Sequence[int]): Width W and height H, in pixels.

    Returns:
        np.ndarray: (T, H, W, 3), float32, of unit variance.
    """
    scales = path[1]
    octaves = range(
        int(np.floor(scales.min())) + 1, int(np.ceil(scales.max())) + _OCTAVES
    )
    frames = np.zeros((len(scales), size[1], size[0], 3), np.float32)
    for octave in octaves:
        offset = rng.uniform(0, _TILE, 2)  # each shows another part of it
        for frame, centre, scale, roll in zip(frames, *path):
            level = octave - scale
            if 0 < level < _OCTAVES:
                # The squared weights of the octaves in view sum to one, so
                # that detail appears and disappears gradually.
                weight = (
                    np.sin(np.pi * level / _OCTAVES) * (2 / _OCTAVES) ** 0.5
                )
                position = offset + centre * 2.0 ** (1 - octave)
                frame += weight * _view(
                    tile, position, 2.0 ** (1 - level), roll, size
                )
    return frames


def _view(
    tile: np.ndarray,
    centre: np.ndarray,
    scale: float,
    roll: float,
    size: Sequence[int],
) -> np.ndarray:
    """Sample the tile around ``centre`` (texels), ``scale`` texels a pixel."""
    matrix = _view_matrix(scale, roll)
    shift = centre % _TILE - matrix @ middle(size)
    return cv2.warpAffine(
        tile,
        np.column_stack([matrix, shift]),
        tuple(size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP,
    )


def _view_matrix(scale: float, roll: float) -> np.ndarray:
    cos, sin = scale * np.cos(roll), scale * np.sin(roll)
    return np.array([[cos, -sin], [sin, cos]])


def middle(size: Sequence[int]) -> np.ndarray:
    """Return the centre (x, y) of a frame, in pixels."""
    return (np.array(size) - 1) / 2


def expose(rng: np.random.Generator, frames: np.ndarray) -> np.ndarray:
    """Convert frames of unit variance to uint8, with flicker and noise.

    Args:
        rng (np.random.Generator): Source of all randomness.
        frames (np.ndarray): (T, H, W, 3), float32, changed in place.

    Returns:
        np.ndarray: (T, H, W, 3), uint8.
    """
    shape = frames.shape[:3] + (1,)
    light = rng.uniform(107, 147) + rng.normal(0, 4, (len(frames), 1, 1, 1))
    frames = frames * np.float32(rng.uniform(40, 50))
    frames += light + 2 * rng.standard_normal(shape, np.float32)
    return np.clip(frames, 0, 255, out=frames).astype(np.uint8)
