# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Registration of the components of ata_mm in MMAction2's registries.

A registry of MMAction2 imports the modules in its ``locations`` when it is
first asked for a component. Ours are added to them, as soon as
``mmaction.registry`` is imported.
"""

from types import ModuleType

from wrapt import register_post_import_hook

_LOCATIONS = {
    'MODELS': ('ata_mm.models',),
    'DATASETS': ('ata_mm.datasets',),
    'TRANSFORMS': ('ata_mm.datasets',),
    'RUNNERS': ('ata_mm.engine',),
    'LOOPS': ('ata_mm.engine',),
    'HOOKS': ('ata_mm.engine', 'ata_mm.evaluation', 'ata_mm.checkpoints'),
    'METRICS': ('ata_mm.evaluation',),
}


def register() -> None:
    """Add the components to MMAction2's registries, to be imported on use."""
    register_post_import_hook(_add_locations, 'mmaction.registry')


def _add_locations(registries: ModuleType) -> None:
    for name, locations in _LOCATIONS.items():
        registry = getattr(registries, name)
        registry._locations = [*registry._locations, *locations]
        # Imported before ata_mm, it may have looked at its locations already.
        registry._imported = False
