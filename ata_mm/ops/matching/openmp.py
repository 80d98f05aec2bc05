# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The processor's cores, from torch's threads to those of a solver."""
import ctypes
import os
from functools import lru_cache
from pathlib import Path
from typing import Optional

import torch

_SOFT = 1  # omp_pause_soft


def pause_openmp() -> bool:
    """Let go of the threads that torch keeps ready for its next operation.

    After an operation, GNU OpenMP's threads spin for some milliseconds in case
    that another one follows. A solver with threads of its own shares the cores
    with them meanwhile and takes half as long again. OpenMP 5.0 has a call to
    end that (`omp_pause_resource_all`, of the calling thread's threads alone);
    the next operation starts new ones, in about a tenth of a millisecond.

    Returns:
        bool: Whether they are gone. False where torch was not built with GNU
        OpenMP, as on macOS and Windows, and within a parallel region.
    """
    library = _gnu_openmp()
    return library is not None and library.omp_pause_resource_all(_SOFT) == 0


@lru_cache(maxsize=None)
def _gnu_openmp() -> Optional[ctypes.CDLL]:
    """The copy of the library that torch has loaded, none else."""
    if not hasattr(os, 'RTLD_NOLOAD'):
        return None
    own = Path(torch.__file__).with_name('lib').glob('libgomp*')
    for name in [*map(str, own), 'libgomp.so.1']:
        try:
            library = ctypes.CDLL(name, mode=os.RTLD_NOLOAD)
            library.omp_pause_resource_all  # since GCC 9
        except (OSError, AttributeError):
            continue
        return library
    return None
