# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Loading and conversion of checkpoints of other code bases."""

from .conversion import LoadReport, convert_state_dict
from .loading import (
    AdaptCheckpointHook,
    adapt_state_dict,
    convert_checkpoint,
    load_pretrained,
    name_as_recognizer,
)
from .reading import check_finite_weights, read_checkpoint, read_state_dict

__all__ = [
    'AdaptCheckpointHook',
    'LoadReport',
    'adapt_state_dict',
    'check_finite_weights',
    'convert_checkpoint',
    'convert_state_dict',
    'load_pretrained',
    'name_as_recognizer',
    'read_checkpoint',
    'read_state_dict',
]
