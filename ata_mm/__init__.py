# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment-guided Temporal Attention for MMAction2.

Importing registers the components in MMAction2's registries; in a config,
``custom_imports=dict(imports='ata_mm')`` does it.
"""
try:
    from . import compat

    compat.apply()  # before any import of mmaction.models
    from . import datasets, engine, evaluation, models
    from .log_forwarding import forward_logs

    forward_logs()
except ModuleNotFoundError as error:
    if (error.name or __name__).startswith(__name__):
        raise
    raise ImportError(
        f'ata_mm needs the module {error.name!r}, which is not installed. '
        "Run `pip install '.[lite]'` in the folder of ata_mm (`pip install .` "
        'where the full mmcv is installed): it adds what is missing.'
    ) from error

__version__ = '0.1.0'

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models']
