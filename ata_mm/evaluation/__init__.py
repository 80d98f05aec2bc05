# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Metrics of MMAction2's evaluators, and what feeds them."""
from ata_mm.introspection.information import InformationProbe

from .mutual_information import MutualInformation, MutualInformationHook

__all__ = ['InformationProbe', 'MutualInformation', 'MutualInformationHook']
