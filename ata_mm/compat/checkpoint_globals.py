# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Allow ``torch.load`` to read mmengine's checkpoints, and no other objects.

With ``weights_only=True``, the default from torch 2.6 on, ``torch.load``
refuses unknown classes. mmengine's checkpoints hold logs as
:class:`HistoryBuffer` with numpy arrays: testing and resuming fail. The
allow-list below contains only the classes of these logs.

A :class:`HistoryBuffer` also saves its four statistics methods, as calls of
``getattr``. Allowing that function would open every attribute of every known
object to a checkpoint. It is replaced by a function that returns only these
four methods.

Upstream: https://github.com/open-mmlab/mmengine/issues/1655
"""

from collections.abc import Callable
from pickle import UnpicklingError

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

_STATISTICS = ('min', 'max', 'current', 'mean')


def _statistics_method(owner: type, name: str) -> Callable:
    """Replace ``getattr`` in its one use in an mmengine checkpoint.

    Raises:
        UnpicklingError: If the attribute is not a statistics method.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise UnpicklingError(
            f'Expected one of the statistics methods {_STATISTICS} of '
            f'HistoryBuffer in a checkpoint, got {name!r} of {owner!r}.'
        )
    return getattr(HistoryBuffer, name)


def _mmengine_globals() -> list[Callable | tuple[Callable, str]]:
    """Return the classes and functions in a pickled HistoryBuffer."""
    rebuild_array = np.zeros(0).__reduce__()[0]
    rebuild_scalar = np.float64(0).__reduce__()[0]
    safe = [HistoryBuffer, np.ndarray, np.dtype]
    safe += [type(np.dtype(name)) for name in ('f4', 'f8', 'i4', 'i8')]
    for core in ('numpy.core', 'numpy._core'):  # written by numpy 1, numpy 2
        safe += [
            (rebuild_array, f'{core}.multiarray._reconstruct'),
            (rebuild_scalar, f'{core}.multiarray.scalar'),
        ]
    return safe + [(_statistics_method, 'builtins.getattr')]


def needed() -> bool:
    """Return whether this torch refuses mmengine's checkpoints."""
    return HistoryBuffer not in torch.serialization.get_safe_globals()


def apply() -> None:
    """Add the classes of mmengine's checkpoints to the allow-list."""
    if needed():
        torch.serialization.add_safe_globals(_mmengine_globals())
