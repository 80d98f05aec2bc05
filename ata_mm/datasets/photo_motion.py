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
# Share of the short side of a photo that a frame shows, on average.
_SHOWN = 0.5


@DATASETS.register_module()
class PhotoMotionDataset(RenderedDataset):
    """Data set of photos before a moving camera, made on first use.

    The classes are those of :class:`CameraMotionDataset`. The splits have
    different photos. Beyond its border a photo is reflected. Halfway through a
    video, a photo is upright, and all centres and a range of scales are
    equally likely; at its start and end they are not. A single frame of these
    therefore tells something of the class, see the guide "When does ATA
    help?". Needs the packages of the extra ``routes``.
    """

    METAINFO = dict(classes=CLASSES)
    NAME = 'photo motion'

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
        name, poses = _draw(rng, label, num_frames, size, speed, photos)
        return np.stack([_view(name, pose, size) for pose in poses])

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
        _, poses = _draw(rng, label, num_frames, size, speed, photos)
        return [Layer(poses)]


def _draw(
    rng: np.random.Generator,
    label: int,
    num_frames: int,
    size: Sequence[int],
    speed: Sequence[float],
    photos: Sequence[str],
) -> tuple[str, np.ndarray]:
    """Draw a photo, and affine maps (T, 2, 3) from frames to its pixels."""
    # The order of the draws defines the videos: see VERSION.
    poses = camera_poses(rng, label, num_frames, size, speed)
    name = photos[int(rng.integers(len(photos)))]
    height, width = _pyramid(name)[0].shape[:2]
    # Upright and at scale 1 halfway, then of a random scale and position.
    middle = (np.array(size) - 1) / 2
    half = np.vstack([poses[num_frames // 2], (0, 0, 1)])
    start = np.array([[1, 0, middle[0]], [0, 1, middle[1]], [0, 0, 1]])
    poses = np.linalg.inv(half @ start)[:2] @ _square(poses)
    scale = _SHOWN * min(height, width) / size[1] * 2 ** rng.uniform(-1, 1)
    poses = poses * scale
    poses[:, :, 2] += rng.uniform((0, 0), (width, height))
    return name, poses


def _square(poses: np.ndarray) -> np.ndarray:
    """Append the last row of affine maps: (T, 2, 3) -> (T, 3, 3)."""
    last = np.broadcast_to((0.0, 0.0, 1.0), (len(poses), 1, 3))
    return np.concatenate([poses, last], 1)


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
