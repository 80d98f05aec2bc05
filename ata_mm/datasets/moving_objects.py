# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The moving objects data set: squares that turn a corner before a background.

All objects of a video move along the same path of two straight legs, and the
class is which legs in which order: "right, then down" and "down, then right"
show the same displacements. The background moves along a path of another,
random class. Objects start anywhere in and around the view, so that they are
equally likely everywhere in every frame, and no single frame reveals the
class.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mmaction.registry import DATASETS

from .layers import Layer, draw_plane
from .rendered import RenderedDataset
from .rendering import CameraPath, draw_texture, expose, film, middle

_DIRECTIONS = dict(right=(1, 0), down=(0, 1), left=(-1, 0), up=(0, -1))
_AROUND = tuple(_DIRECTIONS)
#: Each direction, followed by its neighbour on either side.
_LEGS = [
    (_AROUND[i], _AROUND[(i + turn) % 4]) for i in range(4) for turn in (1, -1)
]
_AREA = 24**2  # pixels per object
_SIDES = (14.0, 24.0)  # shortest and longest side of an object, in pixels
_JITTER = 0.5  # pixels per frame, standard deviation
_CONTRAST = 0.5  # of the background, relative to that of the objects


class _Scene(NamedTuple):
    """What is drawn for a clip.

    Args:
        camera (CameraPath): Path of the camera over the background.
        objects (list[Layer]): The objects, those behind first.
    """

    camera: CameraPath
    objects: list[Layer]


@DATASETS.register_module()
class MovingObjectsDataset(RenderedDataset):
    """Data set of objects that turn a corner, made on first use.

    The order of the two legs decides among eight classes; see
    :mod:`ata_mm.datasets.moving_objects`. ``speed`` is that of the objects;
    the background has one of the same range. The corner is in the middle of
    the video, give or take a frame.
    """

    METAINFO = dict(
        classes=tuple(f'{first}, then {then}' for first, then in _LEGS)
    )
    NAME = 'moving objects'

    @staticmethod
    def render(
        rng: np.random.Generator,
        label: int,
        num_frames: int,
        size: Sequence[int],
        speed: Sequence[float],
    ) -> np.ndarray:
        """Render a clip."""
        scene = _draw_scene(rng, label, num_frames, size, speed)
        frames = _CONTRAST * film(rng, draw_texture(rng), scene.camera, size)
        texture = draw_texture(rng)
        for layer in scene.objects:
            _draw_object(rng, frames, texture, layer)
        return expose(rng, frames)

    @staticmethod
    def layers(
        rng: np.random.Generator,
        label: int,
        num_frames: int,
        size: Sequence[int],
        speed: Sequence[float],
    ) -> list[Layer]:
        """Return the planes of the background and of the objects in view."""
        scene = _draw_scene(rng, label, num_frames, size, speed)
        background = _poses(-scene.camera[0], middle(size))
        return [Layer(background), *scene.objects]


def _draw_scene(
    rng: np.random.Generator,
    label: int,
    num_frames: int,
    size: Sequence[int],
    speed: Sequence[float],
) -> _Scene:
    # The order of the draws defines the videos: see VERSION.
    low, high = speed
    path = _draw_path(rng, label, num_frames, rng.uniform(low, high))
    other = int(rng.integers(len(_LEGS)))
    moved = -_draw_path(rng, other, num_frames, rng.uniform(low, high))
    still = np.zeros(num_frames)
    return _Scene((moved, still, still), _place_objects(rng, path, size))


def _draw_path(
    rng: np.random.Generator, label: int, num_frames: int, speed: float
) -> np.ndarray:
    """Draw the displacements (x, y) from the first frame on, (T, 2)."""
    legs = np.array([_DIRECTIONS[name] for name in _LEGS[label]])
    corner = (num_frames - 1) / 2 + rng.uniform(-1, 1)
    time = np.arange(num_frames)
    along = np.stack([np.minimum(time, corner), np.maximum(time - corner, 0)])
    jitter = rng.normal(0, _JITTER, (num_frames - 1, 2))
    return speed * along.T @ legs + np.cumsum(np.r_[[(0, 0)], jitter], axis=0)


def _place_objects(
    rng: np.random.Generator, path: np.ndarray, size: Sequence[int]
) -> list[Layer]:
    """Draw objects that move along a path, and keep those in view."""
    # A region that covers the view in every frame.
    low = -path.max(0) - _SIDES[1]
    high = np.array(size) - path.min(0) + _SIDES[1]
    number = round(np.prod(high - low) / _AREA)
    layers = []
    for start in rng.uniform(low, high, (number, 2)):
        side, roll = rng.uniform(*_SIDES), rng.uniform(0, 2 * np.pi)
        centres = start + path
        near = (centres > -side) & (centres < np.array(size) + side)
        if near.all(1).any():
            poses = _poses(centres, np.full(2, side / 2), roll)
            layers.append(Layer(poses, (side, side)))
    return layers


def _poses(
    centres: np.ndarray, origin: np.ndarray, roll: float = 0.0
) -> np.ndarray:
    """Return affine maps that turn a frame around a point.

    Args:
        centres (np.ndarray): The point (x, y) in each frame, (T, 2).
        origin (np.ndarray): What it is mapped to, (2,).
        roll (float): Angle in radians. Defaults to 0.

    Returns:
        np.ndarray: (T, 2, 3).
    """
    cos, sin = np.cos(roll), np.sin(roll)
    turn = np.array([[cos, -sin], [sin, cos]])
    shift = origin - centres @ turn.T
    turns = np.broadcast_to(turn, (len(centres), 2, 2))
    return np.concatenate([turns, shift[..., None]], -1)


def _draw_object(
    rng: np.random.Generator,
    frames: np.ndarray,
    texture: np.ndarray,
    layer: Layer,
) -> None:
    """Draw an object of a random part and tint of a texture, in place."""
    assert layer.extent is not None  # only the background is unlimited
    side = round(layer.extent[0]) + 1
    x, y = rng.integers(0, len(texture) - side, 2)
    tint = rng.normal(0, 1.0, 3).astype(np.float32)
    part = texture[y : y + side, x : x + side] + tint
    draw_plane(frames, part, layer.poses)
