# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Solvers of the linear assignment problem, on the CPU and on a GPU.

All of them maximise the sum of the chosen similarities and return one
permutation a problem. :func:`solve_scipy` is the reference for the others.
"""

from .lapx import CPU_SOLVER, HAS_LAPX, solve_lapx, solve_on_cpu, solve_scipy
from .operator import HAS_TRITON, MAX_TRITON, choose_solver, solve_lap

__all__ = [
    'CPU_SOLVER',
    'HAS_LAPX',
    'HAS_TRITON',
    'MAX_TRITON',
    'choose_solver',
    'solve_lap',
    'solve_lapx',
    'solve_on_cpu',
    'solve_scipy',
]
