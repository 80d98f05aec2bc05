# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Register the solvers of the assignment problem as a torch operator.

As ``torch.ops.ata_mm.solve_lap``, (P, N, N) -> (P, N), they can be part of a
compiled or exported graph. Triton, which is optional, is imported when the
first problem is solved.
"""

from importlib.util import find_spec

import torch
from torch import Tensor

from .lapx import CPU_SOLVER, solve_on_cpu

HAS_TRITON = find_spec('triton') is not None
MAX_TRITON = 1024  # patches whose search state fits into registers

_LIBRARY = torch.library.Library('ata_mm', 'DEF')
_LIBRARY.define(
    'solve_lap(Tensor similarity, str? solver=None, int? num_threads=None) '
    '-> Tensor'
)


def solve_lap(
    similarity: Tensor,
    solver: str | None = None,
    num_threads: int | None = None,
) -> Tensor:
    """Solve a batch of problems, as one operator.

    Args:
        similarity (Tensor): fp32 of shape (P, N, N).
        solver (str, optional): 'triton', 'lapx' or 'scipy'. Defaults to None,
            that of :func:`choose_solver`, at the time of the call: an exported
            graph may run on another device.
        num_threads (int, optional): See
            :func:`~ata_mm.ops.lap.lapx.solve_on_cpu`. Defaults to None.

    Returns:
        Tensor: int64 permutations of shape (P, N) that maximise the sum.

    Raises:
        ValueError: See :func:`~ata_mm.ops.lap.triton.solve_triton` and
            :func:`~ata_mm.ops.lap.lapx.solve_on_cpu`.
    """
    return torch.ops.ata_mm.solve_lap(similarity, solver, num_threads)


def choose_solver(device: torch.device, num_patches: int) -> str:
    """Return the solver for problems of a device: triton, lapx or scipy.

    Args:
        device (torch.device): Device of the similarities.
        num_patches (int): Number of patches N a frame.
    """
    fits = num_patches <= MAX_TRITON
    return (
        'triton'
        if device.type == 'cuda' and fits and HAS_TRITON
        else CPU_SOLVER
    )


def _solve_lap(
    similarity: Tensor,
    solver: str | None = None,
    num_threads: int | None = None,
) -> Tensor:
    if solver is None:
        solver = choose_solver(similarity.device, similarity.shape[-1])
    if solver == 'triton':
        from .triton import solve_triton

        return solve_triton(similarity)
    return solve_on_cpu(similarity, solver, num_threads)


def _solve_lap_fake(
    similarity: Tensor,
    solver: str | None = None,
    num_threads: int | None = None,
) -> Tensor:
    """Return a result of the right shape and dtype, for tracing."""
    return similarity.new_empty(similarity.shape[:2], dtype=torch.int64)


# On every device: those without a kernel of ours are solved on the CPU. No
# autograd key: the result is of integers, without a gradient.
_LIBRARY.impl('solve_lap', _solve_lap, 'CompositeExplicitAutograd')
torch.library.register_fake('ata_mm::solve_lap', _solve_lap_fake, lib=_LIBRARY)
