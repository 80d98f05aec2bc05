# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Leave mmpretrain's multimodal models out where they cannot be imported.

With pycocotools and transformers 4.28 or later installed, mmpretrain.models
imports them. They take ``apply_chunking_to_forward`` from
``transformers.modeling_utils``, where transformers 4.56.0 no longer has it, so
that no image model can be built either. With the flag below cleared,
mmpretrain registers its own placeholders instead. Applied when a model of
mmpretrain is asked for: nobody else needs its import.

Upstream: no report to mmpretrain is known; see :mod:`.multimodal`.
"""


def needed() -> bool:
    """Whether mmpretrain, which is installed, would import them and fail."""
    from mmpretrain.utils import dependency
    return dependency.WITH_MULTIMODAL and dependency.satisfy_requirement(
        'transformers>=4.56.0')


def apply() -> None:
    """Clear ``mmpretrain.utils.dependency.WITH_MULTIMODAL``."""
    if needed():
        from mmpretrain.utils import dependency
        dependency.WITH_MULTIMODAL = False
