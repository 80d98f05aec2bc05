# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What ``python -m ata_mm doctor`` looks at before a long run."""
from typing import Callable, Iterator, Sequence

from .finding import FAULT, Finding
from .machine import check_decoder, check_gpu, check_model, check_solver
from .packages import check_doubles, check_packages, check_torchvision
from .shims import check_shims

Check = Callable[[], Iterator[Finding]]

CHECKS = (check_packages, check_doubles, check_torchvision, check_shims,
          check_gpu, check_decoder, check_solver, check_model)


def examine(checks: Sequence[Check] = CHECKS) -> Iterator[Finding]:
    """Run all checks; one that fails is a fault, and the others go on.

    Args:
        checks (Sequence[Callable]): What is run. Defaults to all.

    Yields:
        Finding: What they find, as soon as they do.
    """
    for check in checks:
        try:
            yield from check()
        except Exception as error:  # whatever is broken, the rest is of use
            yield Finding(FAULT, check.__name__.replace('check_', ''),
                          f'{type(error).__name__}: {error}'.splitlines()[0],
                          'reinstall the package that this error is from')


__all__ = ['CHECKS', 'Finding', 'examine']
