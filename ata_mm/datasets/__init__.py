# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Data sets and transforms."""

from .camera_motion import CameraMotionDataset, make_camera_motion
from .rendering import CLASSES, camera_poses, render_clip
from .transforms import SafeColorJitter, VideoDecode, VideoInit

__all__ = [
    'CLASSES',
    'CameraMotionDataset',
    'SafeColorJitter',
    'VideoDecode',
    'VideoInit',
    'camera_poses',
    'make_camera_motion',
    'render_clip',
]
