# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Silence the deprecation of ``pkg_resources``, which mmengine imports.

Reading a config that inherits one of another package (``mmaction::…``) shows
it twice. ata_mm requires a setuptools that still has the module, and nobody
who reads a config can act on it.

Upstream: https://github.com/open-mmlab/mmengine/pull/1676
"""

import warnings
from importlib.util import find_spec

_MESSAGE = 'pkg_resources is deprecated as an API'


def needed() -> bool:
    """Return whether the installed setuptools has the module."""
    return find_spec('pkg_resources') is not None


def apply() -> None:
    """Filter this warning."""
    if needed():
        warnings.filterwarnings('ignore', message=_MESSAGE)
