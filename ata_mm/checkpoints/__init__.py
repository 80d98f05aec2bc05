# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Loading and conversion of checkpoints of other code bases."""

from .conversion import convert_state_dict
from .hook import AdaptCheckpointHook, name_as_recognizer
from .loading import (
    adapt_state_dict,
    convert_checkpoint,
    load_pretrained,
    read_checkpoint,
    read_state_dict,
)
from .report import LoadReport

__all__ = [
    'AdaptCheckpointHook',
    'LoadReport',
    'adapt_state_dict',
    'convert_checkpoint',
    'convert_state_dict',
    'load_pretrained',
    'name_as_recognizer',
    'read_checkpoint',
    'read_state_dict',
]
