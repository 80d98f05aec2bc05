# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Supply ``mmaction.models.localizers.drn``, which the wheel lacks.

The mmaction2 1.2.0 wheel was built without this folder, but
``mmaction/models/localizers/__init__.py`` imports it:
``import mmaction.models`` fails.

Upstream: https://github.com/open-mmlab/mmaction2/issues/2714
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_PACKAGE = 'mmaction.models.localizers.drn'
_MODULE = f'{_PACKAGE}.drn'


class DRN:
    """Placeholder of the localizer that the wheel lacks.

    Raises:
        ImportError: If it is built.
    """

    def __init__(self, *args, **kwargs) -> None:
        raise ImportError(
            'DRN is not part of the mmaction2 1.2.0 wheel '
            '(open-mmlab/mmaction2#2714). Install mmaction2 from its sources '
            'to use it.'
        )


def needed() -> bool:
    """Return whether the installed mmaction lacks the module."""
    spec = find_spec('mmaction')
    folders = spec.submodule_search_locations if spec else None
    if not folders or _MODULE in sys.modules:
        return False
    # find_spec for the module itself would import its parents, which fails.
    root = Path(folders[0])
    return not (root / 'models' / 'localizers' / 'drn' / 'drn.py').is_file()


def apply() -> None:
    """Add the missing package and module to ``sys.modules``."""
    if not needed():
        return
    package, module = ModuleType(_PACKAGE), ModuleType(_MODULE)
    vars(package).update(__path__=[], drn=module)
    vars(module).update(DRN=DRN)
    sys.modules.update({_PACKAGE: package, _MODULE: module})
