# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Let torch read mmengine's own checkpoints without running foreign code.

From torch 2.6 on, ``torch.load`` reads with ``weights_only=True`` and refuses
every class that it does not know. mmengine calls it with the default, and its
checkpoints hold logs as :class:`HistoryBuffer` with numpy arrays, so that
testing and resuming fail. The allow-list below names just what they hold.

A :class:`HistoryBuffer` also saves its four statistics methods, as calls of
``getattr``. Allowing that function would open every attribute of every known
object to a checkpoint, so a stand-in that only knows those four takes its
place.

Upstream: https://github.com/open-mmlab/mmengine/issues/1655
"""
from pickle import UnpicklingError
from typing import Callable, List, Tuple, Union

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

_STATISTICS = ('min', 'max', 'current', 'mean')


def _statistics_method(owner: type, name: str) -> Callable:
    """Serve the one use of ``getattr`` in an mmengine checkpoint.

    Raises:
        UnpicklingError: If anything but a statistics method is asked for.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise UnpicklingError(
            'a checkpoint may only ask for the statistics methods '
            f'{_STATISTICS} of HistoryBuffer, but got {name!r} of {owner!r}')
    return getattr(HistoryBuffer, name)


def _mmengine_globals() -> List[Union[Callable, Tuple[Callable, str]]]:
    rebuild_array = np.zeros(0).__reduce__()[0]
    rebuild_scalar = np.float64(0).__reduce__()[0]
    safe = [HistoryBuffer, np.ndarray, np.dtype]
    safe += [type(np.dtype(name)) for name in ('f4', 'f8', 'i4', 'i8')]
    for core in ('numpy.core', 'numpy._core'):  # written by numpy 1, numpy 2
        safe += [(rebuild_array, f'{core}.multiarray._reconstruct'),
                 (rebuild_scalar, f'{core}.multiarray.scalar')]
    return safe + [(_statistics_method, 'builtins.getattr')]


def needed() -> bool:
    """Whether this torch would refuse mmengine's checkpoints."""
    return (digit_version(torch.__version__) >= digit_version('2.6.0')
            and HistoryBuffer not in torch.serialization.get_safe_globals())


def apply() -> None:
    """Allow-list the classes of mmengine's checkpoints."""
    if needed():
        torch.serialization.add_safe_globals(_mmengine_globals())
