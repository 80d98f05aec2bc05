# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Checkpoints of other code bases into our models."""
from .hook import AdaptCheckpointHook, name_as_recognizer
from .loading import (LoadReport, adapt_state_dict, convert_state_dict,
                      load_pretrained, read_state_dict)

__all__ = [
    'AdaptCheckpointHook', 'LoadReport', 'adapt_state_dict',
    'convert_state_dict', 'load_pretrained', 'name_as_recognizer',
    'read_state_dict'
]
