# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Necks: temporal modules between a stock backbone and its head."""

from .ata_neck import ATANeck

__all__ = ['ATANeck']
