# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Listeners to the alignments and features of a model.

:class:`Listener` is the base class; a listener is attached to a model, reports
the alignments and patches of every forward pass, and is detached. Its uses:

- `AlignmentRecord` averages over the alignments of a training step;
- `observe` collects one clip at all temporal modules, for figures;
  `match_pixels` does without a model;
- `InformationProbe` measures mutual information of frames (Sec. 3.2);
- `count_complexity` counts parameters, operations and matchings.
"""

from .alignment_record import AlignedClip, AlignmentRecord
from .complexity import Complexity, count_complexity, view_shape
from .information import InformationProbe
from .listener import AlignmentEvent, Listener
from .observation import Block, Observation, observe
from .pixels import match_pixels
from .taps import (
    Tap,
    before_tap,
    embedding_tap,
    final_tap,
    temporal_modules,
    temporal_taps,
)

__all__ = [
    'AlignedClip',
    'AlignmentEvent',
    'AlignmentRecord',
    'Block',
    'Complexity',
    'InformationProbe',
    'Listener',
    'Observation',
    'Tap',
    'before_tap',
    'count_complexity',
    'embedding_tap',
    'final_tap',
    'match_pixels',
    'observe',
    'temporal_modules',
    'temporal_taps',
    'view_shape',
]
