# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Data sets and transforms."""

from .camera_motion import CameraMotionDataset
from .layers import Layer, shown_layer
from .moving_objects import MovingObjectsDataset
from .photo_motion import PhotoMotionDataset
from .rendered import RenderedDataset
from .rendering import CLASSES, camera_poses, render_clip
from .transforms import (
    ArrayDecodeWithPositions,
    CachedVideo,
    SafeColorJitter,
    VideoDecode,
    VideoInit,
)

__all__ = [
    'ArrayDecodeWithPositions',
    'CLASSES',
    'CachedVideo',
    'CameraMotionDataset',
    'Layer',
    'MovingObjectsDataset',
    'PhotoMotionDataset',
    'RenderedDataset',
    'SafeColorJitter',
    'VideoDecode',
    'VideoInit',
    'camera_poses',
    'render_clip',
    'shown_layer',
]
