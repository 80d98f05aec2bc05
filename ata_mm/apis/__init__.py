# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What the command line tools share, and video recognition from Python."""
from .config import load_config
from .recognizer import VideoRecognizer

__all__ = ['VideoRecognizer', 'load_config']
