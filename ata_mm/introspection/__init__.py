# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Listeners to the temporal modules of a model."""
from .alignment_record import AlignmentRecord
from .complexity import Complexity, count_complexity
from .information import InformationProbe
from .observation import Block, Observation, observe

__all__ = [
    'AlignmentRecord', 'Block', 'Complexity', 'InformationProbe',
    'Observation', 'count_complexity', 'observe'
]
