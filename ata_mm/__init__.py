# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment-guided Temporal Attention for MMAction2.

Importing the package adds its components to MMAction2's registries, which
import them when they are first asked for a component. A config imports it by
``custom_imports=dict(imports='ata_mm')``.
"""

from importlib import import_module
from types import ModuleType

from .requirements import required_modules

with required_modules():
    from . import compat
    from .log_forwarding import forward_logs
    from .registration import register

# MMAction2 is imported later, with its parts corrected and ours registered.
compat.apply()
register()
forward_logs()

__version__ = '0.1.0'

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models']


def __getattr__(name: str) -> ModuleType:
    """Import a subpackage when it is used as an attribute."""
    if name in __all__:
        return import_module(f'{__name__}.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
