# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What listens to a training."""
from ata_mm.introspection.alignment_record import AlignmentRecord

from .alignment_hook import AlignmentHook

__all__ = ['AlignmentHook', 'AlignmentRecord']
