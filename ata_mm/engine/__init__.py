# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Runner that survives interruptions, and training hooks."""

from .alignment_hook import AlignmentHook
from .bad_video_hook import BadVideoHook
from .bad_videos import BadVideoError, TooManyBadVideosError
from .checkpoint_hook import ResumableCheckpointHook
from .divergence_hook import DivergenceHook
from .errors import DivergenceError, ResumeError
from .finite_scores_hook import FiniteScoresHook
from .runner import ResumableRunner

__all__ = [
    'AlignmentHook',
    'BadVideoError',
    'BadVideoHook',
    'DivergenceError',
    'DivergenceHook',
    'FiniteScoresHook',
    'ResumableCheckpointHook',
    'ResumableRunner',
    'ResumeError',
    'TooManyBadVideosError',
]
