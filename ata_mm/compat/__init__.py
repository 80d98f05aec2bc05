# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Shims for the released versions of MMAction2 and MMEngine.

Each module corrects one fault of a released package, in memory and only if the
fault is present. A shim has two idempotent functions: ``needed()`` detects the
fault, and ``apply()`` corrects it. :func:`apply` has every shim applied right
after the import of the module that it corrects, so that ``import ata_mm``
imports neither torch nor MMAction2; those that an import itself needs are
applied at once. Two shims are applied by their users instead:
:mod:`ata_mm.compat.cpu_distributed`, which takes the config of a run, by the
command line tools, and :mod:`ata_mm.compat.mmpretrain_multimodal` by the
builder of mmpretrain's models.

Two faults need no shim: mmaction imports ``importlib_metadata`` without
declaring it, and mmengine imports ``pkg_resources``, which setuptools has
removed (open-mmlab/mmengine#1676 replaces it after 0.10.7). Both packages are
dependencies of ata_mm, setuptools in a version that still has the module.
"""

from importlib import import_module
from types import ModuleType

from wrapt import register_post_import_hook

from . import localizers_drn, mmcv_lite_warning, pkg_resources_warning
from .require_mmcv import require_mmcv

_FIRST = (mmcv_lite_warning, pkg_resources_warning, localizers_drn)
# The other shims, by the module that they correct.
_SHIMS = {
    'mmaction.utils.dependency': ('multimodal',),
    'mmengine.fileio': ('atomic_local_backend', 'file_client_warnings'),
    'mmengine.runner.checkpoint': (
        'checkpoint_globals',
        'checkpoint_files',
        'checkpoint_urls',
    ),
    'mmengine.config': ('config_scope',),
    'mmengine.runner.runner': ('collate_scope',),
    'mmaction.models': (
        'recognizer2d_neck',
        'testing_views',
        'multilabel_scores',
    ),
    'mmaction.datasets': (
        'class_balanced',
        'uniform_sample_views',
        'decord_frames',
    ),
    'mmaction.engine.optimizers': ('tsm_optimizer', 'layer_decay'),
}
_applied: list[ModuleType] = []


def apply() -> None:
    """Apply the shims, each as soon as what it corrects is imported.

    Raises:
        ImportError: If neither mmcv nor mmcv-lite is installed.
    """
    require_mmcv()
    for shim in _FIRST:
        _apply(shim)
    for module in _SHIMS:
        register_post_import_hook(_correct, module)


def report() -> list[tuple[ModuleType, bool]]:
    """Return the shims, and whether each has been applied.

    The modules that they correct are imported.
    """
    shims = list(_FIRST)
    for module, names in _SHIMS.items():
        import_module(module)
        shims += map(_import_shim, names)
    return [(shim, shim in _applied) for shim in shims]


def _correct(module: ModuleType) -> None:
    for name in _SHIMS[module.__name__]:
        _apply(_import_shim(name))


def _import_shim(name: str) -> ModuleType:
    return import_module(f'{__name__}.{name}')


def _apply(shim: ModuleType) -> None:
    if shim.needed():
        shim.apply()
        if shim not in _applied:
            _applied.append(shim)


__all__ = ['apply', 'report', 'require_mmcv']
