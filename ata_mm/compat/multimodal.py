# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Leave mmaction's VindLU models out where they cannot be imported.

mmaction imports them whenever transformers 4.28 or later is installed. They
take ``apply_chunking_to_forward`` from ``transformers.modeling_utils``, where
transformers 4.56.0 no longer has it, and need timm, which neither package
requires; without either, ``import mmaction.models`` fails. With the flag below
cleared, mmaction registers its own placeholders instead.

Upstream: no report to mmaction2 is known; other projects met the same change:
https://github.com/xinyu1205/recognize-anything/issues/219
"""
import warnings
from importlib import import_module

from importlib_metadata import PackageNotFoundError, version


def _can_import(module: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            import_module(module)
    except Exception:  # a torchvision of another torch raises RuntimeError
        return False
    return True


def needed() -> bool:
    """Whether mmaction would import VindLU, and fail."""
    try:
        version('transformers')
    except PackageNotFoundError:
        return False
    # Imported late: without transformers nobody needs mmaction.utils here.
    from mmaction.utils import dependency
    if not dependency.WITH_MULTIMODAL:
        return False
    return (dependency.satisfy_requirement('transformers>=4.56.0')
            or not _can_import('timm.models.layers'))


def apply() -> None:
    """Clear ``mmaction.utils.dependency.WITH_MULTIMODAL``."""
    if needed():
        from mmaction.utils import dependency
        dependency.WITH_MULTIMODAL = False
