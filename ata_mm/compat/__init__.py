# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Shims for the published versions of MMAction2 and MMEngine.

Each module here mends one fault of a released package, in memory and only
where the fault is found. A shim has two functions: ``needed()`` looks, and
``apply()`` mends; both may be called any number of times. :func:`apply` runs
them, those first that ``mmaction.models`` needs to be imported at all.
:mod:`ata_mm.compat.cpu_distributed` needs the config of a run, so the entry
points call it instead; :mod:`ata_mm.compat.mmpretrain_multimodal` concerns
models of mmpretrain, so what builds those does.

Two faults need no shim: mmaction imports ``importlib_metadata`` without
declaring it, and mmengine imports ``pkg_resources``, which setuptools has
dropped (open-mmlab/mmengine#1676 replaces it after 0.10.7). Both packages are
dependencies of ata_mm, setuptools in a version that still has the module;
imitating ``pkg_resources`` would take more code than it saves.
"""
from types import ModuleType
from typing import List, Tuple

from . import (
    checkpoint_globals,
    checkpoint_urls,
    config_scope,
    localizers_drn,
    mmcv_lite_warning,
    multimodal,
    recognizer2d_neck,
    testing_views,
)
from .require_mmcv import require_mmcv

# The last two import mmaction.models, which the first ones make possible.
_SHIMS = (mmcv_lite_warning, localizers_drn, multimodal, checkpoint_globals,
          checkpoint_urls, config_scope, recognizer2d_neck, testing_views)
_applied: List[ModuleType] = []


def apply() -> None:
    """Apply every import-time shim that is needed here.

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
    """Every import-time shim, and whether it has been applied here."""
    return [(shim, shim in _applied) for shim in _SHIMS]


__all__ = ['apply', 'report', 'require_mmcv']
