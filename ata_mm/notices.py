# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What ``ata_mm.ops`` has to say reaches the log of the run."""
import logging

from mmengine.logging import print_log


class _ToRun(logging.Handler):
    """Hands records of Python's logging on to MMEngine's logger."""

    def emit(self, record: logging.LogRecord) -> None:
        print_log(record.getMessage(), 'current', record.levelno)


def forward_notices() -> None:
    """Let the loggers under 'ata_mm' write where MMEngine writes.

    MMEngine's loggers are outside of Python's hierarchy, and ``ata_mm.ops``
    knows nothing of MMEngine.
    """
    logger = logging.getLogger('ata_mm')
    if not any(isinstance(handler, _ToRun) for handler in logger.handlers):
        logger.addHandler(_ToRun())
        logger.setLevel(logging.INFO)
