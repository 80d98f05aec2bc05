# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Video files: finding, reading and writing them."""
from .files import check_video_file, find_videos
from .sources import FrameSource

__all__ = ['FrameSource', 'check_video_file', 'find_videos']
