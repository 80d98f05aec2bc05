# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Wrapper of any image backbone as a video backbone."""

from .ata_backbone import ATABackbone
from .image_builder import build_image_backbone

__all__ = ['ATABackbone', 'build_image_backbone']
