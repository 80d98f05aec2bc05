# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignments: `align` orders patches by route, `dealign` undoes it."""

from .displacement import DisplacementAlignment
from .hard import Alignment
from .soft import SoftAlignment

__all__ = ['Alignment', 'DisplacementAlignment', 'SoftAlignment']
