# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Supply ``mmaction.models.localizers.drn``, which the wheel lacks.

The mmaction2 1.2.0 wheel was built without this folder, but
``mmaction/models/localizers/__init__.py`` imports it, so that
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
    """Stands in for the localizer that the wheel left out.

    Raises:
        ImportError: Whenever it is built.
    """

    def __init__(self, *args, **kwargs) -> None:
        raise ImportError(
            'DRN is not part of the mmaction2 1.2.0 wheel '
            '(open-mmlab/mmaction2#2714). To use it, install mmaction2 from '
            'its sources.')


def needed() -> bool:
    """Whether the installed mmaction lacks the module."""
    spec = find_spec('mmaction')
    if spec is None or _MODULE in sys.modules:
        return False
    # The parent packages must not be imported to find out.
    root = Path(spec.submodule_search_locations[0])
    return not (root / 'models' / 'localizers' / 'drn' / 'drn.py').is_file()


def apply() -> None:
    """Put the missing package and module into ``sys.modules``."""
    if not needed():
        return
    package, module = ModuleType(_PACKAGE), ModuleType(_MODULE)
    package.__path__ = []
    package.drn = module
    module.DRN = DRN
    sys.modules.update({_PACKAGE: package, _MODULE: module})
