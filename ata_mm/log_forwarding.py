# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Forward the log messages of ``ata_mm.ops`` to MMEngine's logger."""

import logging

from mmengine.logging import print_log


class _ForwardHandler(logging.Handler):
    """Forward records of Python's logging to MMEngine's logger."""

    def emit(self, record: logging.LogRecord) -> None:
        print_log(record.getMessage(), 'current', record.levelno)


def forward_logs() -> None:
    """Add a forwarding handler to the logger 'ata_mm', once.

    MMEngine's loggers are outside Python's logger hierarchy, and
    ``ata_mm.ops`` does not import MMEngine.
    """
    logger = logging.getLogger('ata_mm')
    present = (isinstance(h, _ForwardHandler) for h in logger.handlers)
    if not any(present):
        logger.addHandler(_ForwardHandler())
        logger.setLevel(logging.INFO)
