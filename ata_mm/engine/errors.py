# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Reasons for which a run cannot start or go on."""


class ResumeError(ValueError):
    """Checkpoint that training cannot be resumed from."""


class DivergenceError(ValueError):
    """Training whose loss, gradients or scores are NaN or infinite."""
