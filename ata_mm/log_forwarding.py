# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Forward the log messages of ``ata_mm.ops`` to MMEngine's logger."""
import logging

from mmengine.logging import print_log


class _ForwardHandler(logging.Handler):
    """Forward records of Python's logging to MMEngine's logger."""

    def emit(self, record: logging.LogRecord) -> None:
        print_log(record.getMessage(), 'current', record.levelno)


def forward_logs() -> None:
    """Add a handler for the loggers under 'ata_mm'.

    MMEngine's loggers are not part of Python's logger hierarchy, and
    ``ata_mm.ops`` does not import MMEngine.
    """
    logger = logging.getLogger('ata_mm')
    if not any(isinstance(handler, _ForwardHandler) for handler in logger.handlers):
        logger.addHandler(_ForwardHandler())
        logger.setLevel(logging.INFO)
