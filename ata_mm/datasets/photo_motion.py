# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The photo motion data set: photos panned, zoomed and rolled."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from mmaction.registry import DATASETS

from .layers import Layer
from .photos import load_photo
from .rendered import RenderedDataset
from .rendering import CLASSES, camera_poses

#: Photos of each split, of scikit-image and scikit-learn.
SPLITS = dict(
    train=(
        'astronaut',
        'camera',
        'chelsea',
        'china',
        'coins',
        'grass',
        'hubble_deep_field',
        'immunohistochemistry',
        'retina',
    ),
    val=('brick', 'coffee', 'moon'),
    test=('flower', 'gravel', 'rocket'),
)
# A frame shows this share of the short side of a photo at scale 1.
_SHOWN = 1 / 8
# The copies of a photo are this many octaves of scale apart, ...
_PERIOD = 4
# ... and fade into each other within this many.
_FADE = 1
# Photos are halved for small scales, this many times.
_HALVINGS = 6


@DATASETS.register_module()
class PhotoMotionDataset(RenderedDataset):
    """Data set of photos before a moving camera, made on first use.

    The classes are those of :class:`CameraMotionDataset`. The splits have
    different photos. Beyond its border a photo is reflected. Zoomed far out,
    it fades into a copy that is 16 times as large, zoomed far in, into one
    that is 16 times as small. All positions, directions and scales are
    therefore equally likely in every frame of every class, and no single frame
    reveals the motion. Needs the packages of the extra ``routes``.
    """

    METAINFO = dict(classes=CLASSES)
    NAME = 'photo motion'
    VERSION = 2

    @staticmethod
    def scenes(split: str) -> dict[str, Any]:
        """Return the photos of a split."""
        return dict(photos=SPLITS[split])

    @staticmethod
    def render(
        rng: np.random.Generator,
        label: int,
        num_frames: int,
        size: Sequence[int],
        speed: Sequence[float],
        photos: Sequence[str] = SPLITS['train'],
    ) -> np.ndarray:
        """Render a clip of one of the photos."""
        # The order of the draws defines the videos: see VERSION.
        poses = camera_poses(rng, label, num_frames, size, speed)
        levels = _pyramid(photos[int(rng.integers(len(photos)))])
        frames = np.zeros((num_frames, size[1], size[0], 3))
        for weights, views in _copies(rng, poses, levels[0].shape, size):
            for t in np.flatnonzero(weights):
                frames[t] += weights[t] * _view(levels, views[t], size)
        return np.rint(frames).astype(np.uint8)

    @staticmethod
    def layers(
        rng: np.random.Generator,
        label: int,
        num_frames: int,
        size: Sequence[int],
        speed: Sequence[float],
        photos: Sequence[str] = SPLITS['train'],
    ) -> list[Layer]:
        """Return the plane of the photo."""
        return [Layer(camera_poses(rng, label, num_frames, size, speed))]


def _copies(
    rng: np.random.Generator,
    poses: np.ndarray,
    shape: Sequence[int],
    size: Sequence[int],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Place the copies of a photo in the scene.

    Yields:
        tuple[np.ndarray, np.ndarray]: Of each copy, its weight in each frame,
        (T,), and the affine maps from the frames to its pixels, (T, 2, 3).
    """
    first = int(rng.integers(_PERIOD))
    # A photo and its reflections repeat after twice its size. Copies that fade
    # into each other show other parts of it.
    period = 2 * shape[1], 2 * shape[0]
    centres = rng.uniform(0, period, (2, 2))
    scales = first + np.log2(np.linalg.det(poses[..., :2])) / 2
    numbers = scales // _PERIOD
    for copy in range(int(numbers.min()) - 1, int(numbers.max()) + 2):
        scale = 2.0 ** (first - copy * _PERIOD) * _SHOWN
        views = scale * min(shape[:2]) / size[1] * poses
        views[..., 2] = (views[..., 2] + centres[copy % 2]) % period
        yield _weights(scales - copy * _PERIOD), views


def _weights(scales: np.ndarray) -> np.ndarray:
    """Return the weight of a copy of the photo at log2 scales."""
    half = _FADE / 2
    return np.interp(
        scales, (-half, half, _PERIOD - half, _PERIOD + half), (0, 1, 1, 0)
    )


@cache
def _pyramid(name: str) -> list[np.ndarray]:
    """Load a photo, and halve it again and again."""
    photo = load_photo(name)
    # Every level then has the same border, and reflects at the same place.
    height, width = (side - side % 2**_HALVINGS for side in photo.shape[:2])
    levels = [photo[:height, :width]]
    for _ in range(_HALVINGS):
        levels.append(
            cv2.resize(
                levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
            )
        )
    return levels


def _view(
    levels: Sequence[np.ndarray], pose: np.ndarray, size: Sequence[int]
) -> np.ndarray:
    """Sample a frame, from the level of at most two photo pixels a pixel."""
    scale = np.sqrt(np.linalg.det(pose[:, :2]))
    level = int(np.clip(np.floor(np.log2(scale)), 0, len(levels) - 1))
    own = pose / 2**level
    own[:, 2] += 0.5 / 2**level - 0.5  # centres of pixels are at integers
    return cv2.warpAffine(
        levels[level],
        own,
        tuple(size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
