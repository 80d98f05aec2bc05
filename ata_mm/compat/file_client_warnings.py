# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Silence deprecations that mmengine logs of its own ``CheckpointHook``.

At the start of every training the hook makes a ``FileClient``, which it does
not use, and whose constructor logs two warnings.

Upstream: https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/hooks/checkpoint_hook.py
"""

from mmengine.fileio import file_client
from mmengine.logging import print_log


def _print_others(message: str, *args, **kwargs) -> None:
    if 'will be deprecated in future' not in message:
        print_log(message, *args, **kwargs)


def needed() -> bool:
    """Return whether ``FileClient`` logs that it is deprecated."""
    return file_client.print_log is print_log


def apply() -> None:
    """Drop these messages of the module."""
    if needed():
        file_client.print_log = _print_others
