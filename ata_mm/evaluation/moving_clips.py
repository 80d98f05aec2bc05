# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Sources of clips with known motion: photos, rendered scenes, stereo pairs.

Photos are moved by known transforms, the renderer of the camera motion data
set knows the path of its camera, and stereo pairs come with their disparity.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from ata_mm.datasets import Layer, camera_poses, render_clip
from ata_mm.datasets.layers import draw_plane

from .known_motion import LayeredClip, StereoPair

# Share of the short side of a photo that a frame shows.
_SHOWN = 0.625


def pan_poses(
    velocity: Sequence[float] | np.ndarray, num_frames: int, size: int
) -> np.ndarray:
    """Return the poses of a plane that moves at a constant velocity.

    Args:
        velocity (Sequence[float]): Pixels (x, y) per frame.
        num_frames (int): Frames T; halfway the plane is in the centre.
        size (int): Height and width of the frames.

    Returns:
        np.ndarray: Affine maps from the pixels (x, y) of each frame to the
        plane, whose origin is its centre, (T, 2, 3).
    """
    time = np.arange(num_frames) - (num_frames - 1) / 2
    return _poses(size, -time[:, None] * velocity)


def zoom_poses(factor: float, num_frames: int, size: int) -> np.ndarray:
    """Return the poses of a plane that grows by a factor per frame.

    Args:
        factor (float): Above 1 for growth, from the size 1 in frame 0.
        num_frames (int): Frames T.
        size (int): Height and width of the frames.

    Returns:
        np.ndarray: As of :func:`pan_poses`.
    """
    scale = factor ** -np.arange(num_frames, dtype=float)
    return _poses(size, np.zeros((num_frames, 2)), scale)


def rotation_poses(degrees: float, num_frames: int, size: int) -> np.ndarray:
    """Return the poses of a plane that turns around the centre of the frame.

    Args:
        degrees (float): Anticlockwise rotation per frame.
        num_frames (int): Frames T.
        size (int): Height and width of the frames.

    Returns:
        np.ndarray: As of :func:`pan_poses`.
    """
    roll = np.deg2rad(degrees) * np.arange(num_frames)
    return _poses(size, np.zeros((num_frames, 2)), roll=roll)


def move_photo(
    photo: np.ndarray,
    poses: np.ndarray,
    size: int = 224,
    quality: int = 75,
    noise: float = 0.0,
    occluder: np.ndarray | None = None,
) -> LayeredClip:
    """Move a photo, and compress each frame as a JPEG image.

    At scale 1 a frame shows 0.625 of the short side of the photo. Beyond its
    border the photo is reflected, which moves as the photo does.

    Args:
        photo (np.ndarray): (H, W, 3), uint8, RGB.
        poses (np.ndarray): As of :func:`pan_poses`, (T, 2, 3).
        size (int): Height and width of the frames. Defaults to 224.
        quality (int): Quality of the compression. Defaults to 75.
        noise (float): Standard deviation of Gaussian noise added before the
            compression. Defaults to 0.
        occluder (np.ndarray, optional): A second photo, half as wide as the
            frame, that crosses the frame from left to right. Defaults to None.

    Returns:
        LayeredClip: T frames.
    """
    layers, frames = [Layer(poses)], _view_photo(photo, poses, size)
    if occluder is not None:
        side = size // 2
        crossing = _crossing(len(poses), size, side)
        layers.append(Layer(crossing, (side - 1, side - 1)))
        picture = _view_photo(occluder, _poses(side, np.zeros((1, 2))), side)
        draw_plane(frames, picture[0], crossing)
    rng = np.random.default_rng(0)
    pixels = frames + noise * rng.standard_normal(frames.shape, np.float32)
    pixels = np.clip(pixels, 0, 255).round().astype(np.uint8)
    compressed = [_compress(frame, quality) for frame in pixels]
    return LayeredClip(np.stack(compressed), layers)


def render_motion(
    seed: int,
    label: int,
    num_frames: int,
    size: int,
    speed: float,
    rendered_size: int,
) -> LayeredClip:
    """Render a clip of the camera motion data set.

    Args:
        seed (int): Seed of the scene and of the camera's jitter.
        label (int): Index into :data:`ata_mm.datasets.CLASSES`.
        num_frames (int): Frames T.
        size (int): Height and width of the frames.
        speed (float): Pixels per frame, at the corners if the camera zooms or
            rolls.
        rendered_size (int): Height and width at which the scene is rendered.
            The finest detail is some of its pixels large.

    Returns:
        LayeredClip: T frames.
    """
    scale = rendered_size / size
    options = (label, num_frames, (rendered_size,) * 2, (scale * speed,) * 2)
    frames = [
        cv2.resize(
            frame,
            (size, size),
            interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC,
        )
        for frame in render_clip(np.random.default_rng(seed), *options)
    ]
    poses = camera_poses(np.random.default_rng(seed), *options)
    layer = Layer(poses).seen(range(num_frames), scale)
    return LayeredClip(np.stack(frames), [layer])


def stereo_clips(
    left: np.ndarray,
    right: np.ndarray,
    disparity: np.ndarray,
    size: int = 224,
    scale: float = 1.0,
) -> list[StereoPair]:
    """Cut a stereo pair into square clips of two frames.

    Args:
        left (np.ndarray): Left view (H, W, 3), uint8, RGB.
        right (np.ndarray): Right view, likewise.
        disparity (np.ndarray): See :class:`StereoPair`, (H, W).
        size (int): Height and width of the clips. Defaults to 224.
        scale (float): The views are resized by this factor first, and their
            disparities with them. Defaults to 1.

    Returns:
        list[StereoPair]: The fewest clips that cover the pair.

    Raises:
        ValueError: If the resized views are smaller than a clip.
    """
    height, width = (round(scale * side) for side in disparity.shape)
    if min(height, width) < size:
        raise ValueError(
            f'Expected stereo views of at least {size}x{size} pixels, got '
            f'{height}x{width} at scale {scale}. Use a larger scale.'
        )
    views = [
        cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA)
        for view in (left, right)
    ]
    # Disparities of two surfaces must not be averaged.
    disparity = scale * cv2.resize(
        disparity, (width, height), interpolation=cv2.INTER_NEAREST
    )
    return [
        StereoPair(
            np.stack([view[y : y + size, x : x + size] for view in views]),
            disparity[y : y + size, x : x + size],
        )
        for y in _cover(height, size)
        for x in _cover(width, size)
    ]


def _poses(
    size: int,
    centre: np.ndarray,
    scale: float | np.ndarray = 1.0,
    roll: float | np.ndarray = 0.0,
) -> np.ndarray:
    """Return the affine maps from frames to a plane, (T, 2, 3).

    Args:
        size (int): Height and width of the frames.
        centre (np.ndarray): Point of the plane in the centre of each frame,
            (T, 2).
        scale (float | np.ndarray): Units of the plane per pixel, (T,).
        roll (float | np.ndarray): Rotation of the view in radians, (T,).
    """
    turn = np.broadcast_to(scale * np.exp(1j * roll), len(centre))
    linear = np.stack([turn.real, -turn.imag, turn.imag, turn.real], -1)
    linear = linear.reshape(-1, 2, 2)
    shift = centre - linear.sum(-1) * (size - 1) / 2
    return np.concatenate([linear, shift[..., None]], -1)


def _crossing(num_frames: int, size: int, side: int) -> np.ndarray:
    """Return the poses of a square that crosses the middle of the frame."""
    left = np.linspace(-side, size, num_frames)
    top = np.full(num_frames, (size - side) / 2)
    linear = np.broadcast_to(np.eye(2), (num_frames, 2, 2))
    return np.concatenate([linear, -np.stack([left, top], 1)[..., None]], -1)


def _view_photo(photo: np.ndarray, poses: np.ndarray, size: int) -> np.ndarray:
    """Sample frames of a photo: (T, S, S, 3), float32."""
    height, width = photo.shape[:2]
    scale = _SHOWN * min(height, width) / size  # photo pixels a frame pixel
    if scale > 1:  # an average over the area of a pixel, against aliasing
        photo = cv2.GaussianBlur(photo, (0, 0), 0.4 * scale)
    # The origin of the plane is the centre of the photo.
    centre = np.array([[0, 0, (width - 1) / 2], [0, 0, (height - 1) / 2]])
    frames = [
        cv2.warpAffine(
            photo.astype(np.float32),
            scale * pose + centre,
            (size, size),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        for pose in poses
    ]
    return np.stack(frames)


def _compress(frame: np.ndarray, quality: int) -> np.ndarray:
    """Compress an RGB frame as JPEG, and read it again."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    data = cv2.imencode('.jpg', frame[..., ::-1], options)[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1]


def _cover(length: int, size: int) -> list[int]:
    """Return the starts of the fewest windows that cover a length."""
    number = -(-length // size)
    return np.linspace(0, length - size, number).round().astype(int).tolist()
