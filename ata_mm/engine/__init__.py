# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Hooks: alignment statistics and bad videos of a training."""

from .alignment_hook import AlignmentHook
from .bad_video_hook import BadVideoHook
from .bad_videos import BadVideoError, TooManyBadVideosError

__all__ = [
    'AlignmentHook',
    'BadVideoError',
    'BadVideoHook',
    'TooManyBadVideosError',
]
