# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Leave mmaction's VindLU models out where they cannot be imported.

mmaction imports them whenever transformers 4.28 or later is installed, and
takes ``apply_chunking_to_forward`` from ``transformers.modeling_utils``, where
transformers 4.56.0 no longer has it: ``import mmaction.models`` fails. With the
flag below cleared, mmaction registers its own placeholders instead.

Upstream: no report to mmaction2 is known; other projects met the same change:
https://github.com/xinyu1205/recognize-anything/issues/219
"""
from importlib_metadata import PackageNotFoundError, version


def needed() -> bool:
    """Whether mmaction would import VindLU, and fail."""
    try:
        version('transformers')
    except PackageNotFoundError:
        return False
    # Imported late: without transformers nobody needs mmaction.utils here.
    from mmaction.utils import dependency
    return (dependency.WITH_MULTIMODAL
            and dependency.satisfy_requirement('transformers>=4.56.0'))


def apply() -> None:
    """Clear ``mmaction.utils.dependency.WITH_MULTIMODAL``."""
    if needed():
        from mmaction.utils import dependency
        dependency.WITH_MULTIMODAL = False
