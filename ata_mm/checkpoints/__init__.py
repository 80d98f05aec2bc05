# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Checkpoints of other code bases into our models."""
from .conversion import convert_state_dict
from .hook import AdaptCheckpointHook, name_as_recognizer
from .loading import adapt_state_dict, load_pretrained
from .offline import convert_checkpoint
from .reading import read_state_dict
from .report import LoadReport

__all__ = [
    'AdaptCheckpointHook', 'LoadReport', 'adapt_state_dict',
    'convert_checkpoint', 'convert_state_dict', 'load_pretrained',
    'name_as_recognizer', 'read_state_dict'
]
