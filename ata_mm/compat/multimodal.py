# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Exclude mmaction's VindLU models if their import fails.

mmaction imports them if transformers 4.28 or later is installed. They import
``apply_chunking_to_forward`` from ``transformers.modeling_utils``, which
transformers 4.56.0 has removed, and need timm, which neither package requires;
without either, ``import mmaction.models`` fails. Without the flag below,
mmaction registers its own placeholders instead.

Upstream: no known report to mmaction2; the same change in another project:
https://github.com/xinyu1205/recognize-anything/issues/219
"""

import warnings
from importlib import import_module

from importlib_metadata import PackageNotFoundError, version


def _can_import(module: str) -> bool:
    """Return whether a module can be imported, without its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            import_module(module)
    except Exception:  # torchvision for another torch raises RuntimeError
        return False
    return True


def needed() -> bool:
    """Return whether mmaction fails to import VindLU."""
    try:
        version('transformers')
    except PackageNotFoundError:
        return False
    # Imported late: without transformers, mmaction.utils is not needed here.
    from mmaction.utils import dependency

    if not dependency.WITH_MULTIMODAL:
        return False
    return dependency.satisfy_requirement(
        'transformers>=4.56.0'
    ) or not _can_import('timm.models.layers')


def apply() -> None:
    """Clear ``mmaction.utils.dependency.WITH_MULTIMODAL``."""
    if needed():
        from mmaction.utils import dependency

        dependency.WITH_MULTIMODAL = False
