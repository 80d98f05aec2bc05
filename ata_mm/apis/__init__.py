# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Action recognition in videos and streams from Python."""

from .config import load_config
from .prediction import predict_videos
from .recognizer import VideoRecognizer
from .stream import StreamRecognizer

__all__ = [
    'StreamRecognizer',
    'VideoRecognizer',
    'load_config',
    'predict_videos',
]
