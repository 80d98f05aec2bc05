# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Hooks that log alignment statistics of a training."""

from .alignment_hook import AlignmentHook

__all__ = ['AlignmentHook']
