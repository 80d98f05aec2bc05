# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Register :func:`~ata_mm.ops.lap.triton.solve_triton` as a torch operator.

As ``torch.ops.ata_mm.solve_lap(similarity)``, (P, N, N) -> (P, N), it can be
part of a compiled graph. Triton, which is optional, is imported when the first
problem is solved.
"""

from importlib.util import find_spec

import torch
from torch import Tensor

HAS_TRITON = find_spec('triton') is not None
MAX_TRITON = 1024  # patches whose search state fits into registers

_LIBRARY = torch.library.Library('ata_mm', 'DEF')
_LIBRARY.define('solve_lap(Tensor similarity) -> Tensor')


def solve_lap(similarity: Tensor) -> Tensor:
    """Solve a batch of problems with triton, as one operator.

    Args:
        similarity (Tensor): fp32 of shape (P, N, N), N <= 1024, on a GPU.

    Returns:
        Tensor: int64 permutations of shape (P, N) that maximise the sum.

    Raises:
        ValueError: See :func:`~ata_mm.ops.lap.triton.solve_triton`.
    """
    return torch.ops.ata_mm.solve_lap(similarity)


def _solve_lap(similarity: Tensor) -> Tensor:
    from .triton import solve_triton

    return solve_triton(similarity)


def _solve_lap_fake(similarity: Tensor) -> Tensor:
    """Return a result of the right shape and dtype, for tracing."""
    return similarity.new_empty(similarity.shape[:2], dtype=torch.int64)


# No autograd key: the result is of integers, without a gradient. The CPU key
# serves triton's interpreter, in tests.
for _key in ('CPU', 'CUDA'):
    _LIBRARY.impl('solve_lap', _solve_lap, _key)
torch.library.register_fake('ata_mm::solve_lap', _solve_lap_fake, lib=_LIBRARY)
