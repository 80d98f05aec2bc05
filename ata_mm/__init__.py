# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment-guided Temporal Attention for MMAction2.

Importing registers the components in MMAction2's registries; in a config,
``custom_imports=dict(imports='ata_mm')`` does it.
"""
from . import compat

compat.apply()  # before anything of mmaction is imported

from . import datasets, models  # noqa: E402

__version__ = '0.1.0'

__all__ = ['__version__', 'datasets', 'models']
