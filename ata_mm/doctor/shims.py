# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Which faults of the published packages are mended here, and why."""
import inspect
from types import ModuleType
from typing import Iterator

from ata_mm import compat

from mmengine.config import Config

from ata_mm.compat import cpu_distributed

from .finding import OK, Finding


def check_shims() -> Iterator[Finding]:
    """Each shim of :mod:`ata_mm.compat`, and whether it applies."""
    for shim, applied in compat.report():
        yield _finding(shim, 'applied', applied)
    distributed = Config(dict(launcher='pytorch'))
    yield _finding(cpu_distributed, 'in distributed runs',
                   cpu_distributed.needed(distributed))


def _finding(shim: ModuleType, when: str, applies: bool) -> Finding:
    reason = inspect.getdoc(shim).split('\n\n')[0].replace('\n', ' ')
    name = shim.__name__.rpartition('.')[2]
    return Finding(OK, f'shim {name}',
                   f'{when if applies else "not needed"}: {reason}')
