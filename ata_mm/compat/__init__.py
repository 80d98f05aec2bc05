# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Shims for the released versions of MMAction2 and MMEngine.

Each module corrects one fault of a released package, in memory and only if the
fault is present. A shim has two idempotent functions: ``needed()`` detects the
fault, and ``apply()`` corrects it. :func:`apply` runs the shims, first those
without which ``mmaction.models`` cannot be imported. Two shims are applied by
their users instead: :mod:`ata_mm.compat.cpu_distributed`, which takes the
config of a run, by the command line tools, and
:mod:`ata_mm.compat.mmpretrain_multimodal` by the builder of mmpretrain's
models.

Two faults need no shim: mmaction imports ``importlib_metadata`` without
declaring it, and mmengine imports ``pkg_resources``, which setuptools has
removed (open-mmlab/mmengine#1676 replaces it after 0.10.7). Both packages are
dependencies of ata_mm, setuptools in a version that still has the module.
"""

from types import ModuleType
from typing import List, Tuple

from . import (
    atomic_local_backend,
    checkpoint_files,
    checkpoint_globals,
    checkpoint_urls,
    class_balanced,
    config_scope,
    decord_frames,
    layer_decay,
    localizers_drn,
    mmcv_lite_warning,
    multilabel_scores,
    multimodal,
    recognizer2d_neck,
    testing_views,
    tsm_optimizer,
    uniform_sample_views,
)
from .require_mmcv import require_mmcv

# Those from recognizer2d_neck on import parts of mmaction that fail before the
# others.
_SHIMS = (
    mmcv_lite_warning,
    localizers_drn,
    multimodal,
    atomic_local_backend,
    checkpoint_globals,
    checkpoint_files,
    checkpoint_urls,
    config_scope,
    recognizer2d_neck,
    testing_views,
    multilabel_scores,
    class_balanced,
    tsm_optimizer,
    layer_decay,
    uniform_sample_views,
    decord_frames,
)
_applied: List[ModuleType] = []


def apply() -> None:
    """Apply every import-time shim that the environment needs.

    Raises:
        ImportError: If neither mmcv nor mmcv-lite is installed.
    """
    require_mmcv()
    for shim in _SHIMS:
        if shim.needed():
            shim.apply()
            if shim not in _applied:
                _applied.append(shim)


def report() -> List[Tuple[ModuleType, bool]]:
    """Return every import-time shim, and whether it has been applied."""
    return [(shim, shim in _applied) for shim in _SHIMS]


__all__ = ['apply', 'report', 'require_mmcv']
