# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Metrics for MMAction2's evaluators, and the hooks that measure for them."""

from .mutual_information import MutualInformation, MutualInformationHook

__all__ = ['MutualInformation', 'MutualInformationHook']
