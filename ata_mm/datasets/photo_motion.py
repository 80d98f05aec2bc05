# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The photo motion data set: photos panned, zoomed and rolled."""

from collections.abc import Sequence
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
PHOTOS = dict(
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


@DATASETS.register_module()
class PhotoMotionDataset(RenderedDataset):
    """Data set of photos before a moving camera, made on first use.

    The classes are those of :class:`CameraMotionDataset`. The splits have
    different photos. Beyond its border a photo is reflected. Where it would
    fill little or all of the frame, it fades into a copy of itself that is 16
    times as large. All positions, directions and scales are therefore equally
    likely in every frame of every class, and no single frame reveals the
    motion. Needs the packages of the extra ``routes``.
    """

    METAINFO = dict(classes=CLASSES)
    NAME = 'photo motion'
    VERSION = 2

    @staticmethod
    def scenes(split: str) -> dict[str, Any]:
        """Return the photos of a split."""
        return dict(photos=PHOTOS[split])

    @staticmethod
    def render(
        rng: np.random.Generator,
        label: int,
        num_frames: int,
        size: Sequence[int],
        speed: Sequence[float],
        photos: Sequence[str] = PHOTOS['train'],
    ) -> np.ndarray:
        """Render a clip."""
        # The order of the draws defines the videos: see VERSION.
        poses = camera_poses(rng, label, num_frames, size, speed)
        name = photos[int(rng.integers(len(photos)))]
        height, width = _pyramid(name)[0].shape[:2]
        octave = int(rng.integers(_PERIOD))
        # A photo and its reflections repeat after twice its size. Copies that
        # fade into each other show other parts of it.
        centres = rng.uniform(0, (2 * width, 2 * height), (2, 2))

        scales = octave + np.log2(np.linalg.det(poses[..., :2])) / 2
        unit = _SHOWN * min(height, width) / size[1]
        frames = np.zeros((num_frames, size[1], size[0], 3))
        for copy in range(
            int(scales.min() // _PERIOD) - 1, int(scales.max() // _PERIOD) + 2
        ):
            weights = _weights(scales - copy * _PERIOD)
            to_photo = unit * 2.0 ** (octave - copy * _PERIOD) * poses
            to_photo[..., 2] += centres[copy % 2]
            for t in np.flatnonzero(weights):
                frames[t] += weights[t] * _view(name, to_photo[t], size)
        return np.rint(frames).astype(np.uint8)

    @staticmethod
    def layers(
        rng: np.random.Generator,
        label: int,
        num_frames: int,
        size: Sequence[int],
        speed: Sequence[float],
        photos: Sequence[str] = PHOTOS['train'],
    ) -> list[Layer]:
        """Return the plane of the photo."""
        return [Layer(camera_poses(rng, label, num_frames, size, speed))]


def _weights(scales: np.ndarray) -> np.ndarray:
    """Return the weight of a copy of the photo at log2 scales."""
    half = _FADE / 2
    return np.interp(
        scales, (-half, half, _PERIOD - half, _PERIOD + half), (0, 1, 1, 0)
    )


@cache
def _pyramid(name: str) -> list[np.ndarray]:
    """Load a photo, and halve it again and again."""
    levels = [load_photo(name)]
    while min(levels[-1].shape[:2]) > 32:
        levels.append(cv2.pyrDown(levels[-1]))
    return levels


def _view(name: str, pose: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Sample a frame, from the level of at most two photo pixels a pixel."""
    levels = _pyramid(name)
    scale = np.sqrt(np.linalg.det(pose[:, :2]))
    level = int(np.clip(np.floor(np.log2(scale)), 0, len(levels) - 1))
    return cv2.warpAffine(
        levels[level],
        pose / 2**level,
        tuple(size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
