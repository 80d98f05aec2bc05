# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Exclude mmpretrain's multimodal models if their import fails.

With pycocotools and transformers 4.28 or later installed, mmpretrain.models
imports them. They import ``apply_chunking_to_forward`` from
``transformers.modeling_utils``, which transformers 4.56.0 has removed, and no
image model can be built either. Without the flag below, mmpretrain registers
its own placeholders instead. The shim is applied when a model of mmpretrain is
built, to import mmpretrain only then.

Upstream: no known report to mmpretrain; see :mod:`.multimodal`.
"""


def needed() -> bool:
    """Return whether mmpretrain, if installed, fails to import them."""
    from mmpretrain.utils import dependency

    return dependency.WITH_MULTIMODAL and dependency.satisfy_requirement(
        'transformers>=4.56.0'
    )


def apply() -> None:
    """Clear ``mmpretrain.utils.dependency.WITH_MULTIMODAL``."""
    if needed():
        from mmpretrain.utils import dependency

        dependency.WITH_MULTIMODAL = False
