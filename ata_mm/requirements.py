# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Advice for imports of packages that are not installed."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def required_modules() -> Iterator[None]:
    """Say how to install what the imports in this context require.

    Raises:
        ImportError: If a module of another package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or 'ata_mm').startswith('ata_mm'):
            raise
        raise ImportError(
            f'ata_mm requires the module {error.name!r}, which is not '
            "installed. Run `pip install '.[lite]'` in the folder of ata_mm, "
            'or `pip install .` if the full mmcv is installed.'
        ) from error
