# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What listens to a training."""
from .alignment_hook import AlignmentHook
from .alignment_record import AlignmentRecord

__all__ = ['AlignmentHook', 'AlignmentRecord']
