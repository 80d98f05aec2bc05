# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from .camera_motion import make_camera_motion
from .camera_motion_dataset import CameraMotionDataset
from .moving_camera import CLASSES, render_clip
from .transforms import SafeColorJitter

__all__ = [
    'CLASSES', 'CameraMotionDataset', 'SafeColorJitter', 'make_camera_motion',
    'render_clip'
]
