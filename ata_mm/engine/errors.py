# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Errors that end a run and that the command line reports in one line."""


class RunError(Exception):
    """Reason for which a run cannot start or go on."""


class ResumeError(RunError, ValueError):
    """Checkpoint that training cannot be resumed from."""


class DivergenceError(RunError, ArithmeticError):
    """Training whose loss, gradients or scores are NaN or infinite."""
