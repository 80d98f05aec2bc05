# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment-guided Temporal Attention for MMAction2.

Importing the package registers its components in MMAction2's registries. A
config imports it by ``custom_imports=dict(imports='ata_mm')``.
"""

try:
    from . import compat

    # Before any import of mmaction.models, which fails without the shims.
    compat.apply()
    from . import datasets, engine, evaluation, models
    from .log_forwarding import forward_logs

    forward_logs()
except ModuleNotFoundError as error:
    if (error.name or __name__).startswith(__name__):
        raise
    raise ImportError(
        f'ata_mm requires the module {error.name!r}, which is not installed. '
        "Run `pip install '.[lite]'` in the folder of ata_mm, or "
        '`pip install .` if the full mmcv is installed.'
    ) from error

__version__ = '0.1.0'

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models']
