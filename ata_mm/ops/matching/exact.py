# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Optimal one-to-one matching (Kuhn-Munkres), Eq. 18."""
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from typing import Optional, Tuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..checking import is_compiling
from .checks import NOT_FINITE, check_finite, check_square
from .lap_op import solve_lap
from .openmp import pause_openmp

try:
    from lap import lapjvr_batch
except ImportError:  # scipy gives the same optimum, several times slower
    lapjvr_batch = None

_logger = logging.getLogger(__name__)
_HAS_TRITON = find_spec('triton') is not None
_MAX_TRITON = 1024  # patches whose state fits into registers


def solve_scipy(similarity: np.ndarray) -> np.ndarray:
    """The plain reference: one scipy call a problem.

    Args:
        similarity (np.ndarray): (P, N, N) finite numbers.

    Returns:
        np.ndarray: (P, N) int64 permutations that maximise the sum.
    """
    solved = [linear_sum_assignment(s, maximize=True)[1] for s in similarity]
    return np.stack(solved).astype(np.int64)


def solve_lapx(similarity: np.ndarray, num_threads: int) -> np.ndarray:
    """The same optimum by Jonker-Volgenant in threads, GIL released.

    The calling thread takes its share. lapx has threads of its own, but while
    the caller sleeps, Linux is apt to run two of them on one core for
    milliseconds and leave its core idle.

    Args:
        similarity (np.ndarray): (P, N, N) finite numbers. fp32 is solved with
            float64 potentials, without a float64 copy.
        num_threads (int): At most this many threads.

    Returns:
        np.ndarray: (P, N) int64 permutations that maximise the sum.
    """
    columns = np.empty(similarity.shape[:2], np.int64)
    num_threads = min(num_threads, len(similarity))
    # Many parts a thread, since some problems take longer than others.
    step = -(-len(similarity) // (8 * num_threads))
    parts = iter([
        slice(start, start + step) for start in range(0, len(similarity), step)
    ])

    def solve() -> None:
        for part in parts:
            columns[part] = lapjvr_batch(
                -similarity[part], return_cost=False, n_threads=1)[1]

    if num_threads == 1:
        solve()
        return columns
    pause_openmp()
    pool = _threads(num_threads - 1, os.getpid())
    others = [pool.submit(solve) for _ in range(num_threads - 1)]
    solve()
    for other in others:
        other.result()
    return columns


@lru_cache(maxsize=None)
def _threads(number: int, process: int) -> ThreadPoolExecutor:
    """Threads to solve in; a process that is forked needs its own."""
    return ThreadPoolExecutor(number, thread_name_prefix='ata_mm_lapx')


class ExactMatcher:
    r"""The best one-to-one matching of every pair of frames (Eqs. 4-6).

    .. math:: \pi = \arg\max_\pi \sum_i S[i, \pi(i)]

    Optimal; O(N^3) a problem in the worst case. The choice up to some hundred
    patches a frame. All solvers reach the same optimum, by the same
    permutation but for ties:

    - 'triton', on a GPU, up to 1024 patches: similarities do not leave the
      GPU, the host does not wait, and torch.compile and CUDA graphs can hold
      it. Exact for similarities of at least 1/64 of the largest of a pair of
      frames; smaller ones are truncated to multiples of 2**-29 of it or finer,
      so that the sum may miss the optimum by at most N * 2**-28 of it. NaN and
      infinity are asserted on the GPU.
    - 'lapx', on the CPU, in threads.
    - 'scipy', on the CPU, one problem after the other: the plain reference.

    Args:
        solver (str, optional): One of them. Defaults to None: triton for
            similarities on a GPU, and otherwise, or where triton is not
            installed, lapx, or scipy in its place.
        num_threads (int, optional): Threads of lapx. Defaults to None, those
            of torch (``torch.get_num_threads()``, set by OMP_NUM_THREADS), so
            that several processes can share a machine.
        max_patches (int): Largest N accepted. Defaults to 4096 (64x64), whose
            solve takes seconds a pair of frames.

    Raises:
        ValueError: If ``solver`` is unknown or not installed.
    """

    def __init__(self,
                 solver: Optional[str] = None,
                 num_threads: Optional[int] = None,
                 max_patches: int = 4096) -> None:
        if solver not in (None, 'lapx', 'scipy', 'triton'):
            raise ValueError("Expected solver='lapx', solver='scipy' or "
                             f"solver='triton', got {solver!r}.")
        if solver == 'lapx' and lapjvr_batch is None:
            raise ValueError("solver='lapx' needs the package lapx >= 0.11: "
                             "pip install lapx, or use solver='scipy'.")
        if solver == 'triton' and not _HAS_TRITON:
            raise ValueError("solver='triton' needs the package triton, which "
                             'comes with torch for CUDA: pip install triton.')
        self.solver = solver
        self.num_threads = num_threads
        self.max_patches = max_patches

    def __repr__(self) -> str:
        return f'ExactMatcher(solver={self.solver!r})'

    def solver_for(self, device: torch.device, num_patches: int) -> str:
        """The name of the solver of problems of N patches on a device.

        Raises:
            ValueError: If ``solver`` is 'triton' and N too large for it.
        """
        fits = num_patches <= _MAX_TRITON
        if self.solver == 'triton' and not fits:
            raise ValueError(
                f"solver='triton' expected at most {_MAX_TRITON} patches, got "
                f'N = {num_patches}. Use a CoarseToFineMatcher, or '
                "solver='lapx' on the CPU.")
        if self.solver is not None:
            return self.solver
        if device.type == 'cuda':
            if fits and _HAS_TRITON:
                return 'triton'
            if not is_compiling():
                _say_on_host('they are of more than 1024 patches a frame'
                             if _HAS_TRITON else 'triton is not installed')
        return 'scipy' if lapjvr_batch is None else 'lapx'

    def can_compile(self, device: torch.device, num_patches: int) -> bool:
        """Whether torch.compile can hold the matching in its graph."""
        return self.solver_for(device, num_patches) == 'triton'

    def __call__(self,
                 similarity: Tensor,
                 grid: Optional[Tuple[int, int]] = None) -> Tensor:
        """Solve a batch of problems.

        Args:
            similarity (Tensor): (..., N, N), S[i, j] of patch i in one frame
                and patch j in the next.
            grid (tuple[int, int], optional): Not used; matchers share one
                signature. Defaults to None.

        Returns:
            Tensor: int64 permutations (..., N) on the input's device; i is
            matched to ``result[..., i]``.

        Raises:
            ValueError: If the problems are not square, too large, or hold NaN
                or infinity; if they are on the CPU and ``solver`` is 'triton'.
        """
        num = _check_size(similarity, self.max_patches)
        if similarity.numel() == 0:  # a clip of one frame has no pair
            return similarity.new_empty(similarity.shape[:-1]).long()
        problems = similarity.detach().reshape(-1, num, num).float()
        solver = self.solver_for(problems.device, num)
        if solver == 'triton':
            check_finite(problems)
            solution = solve_lap(problems)
        else:
            solution = self._solve_on_host(problems, solver)
        return solution.view(similarity.shape[:-1])

    def _solve_on_host(self, problems: Tensor, solver: str) -> Tensor:
        device = problems.device
        problems = problems.cpu().numpy()
        _check_finite(problems)
        if solver == 'scipy':
            solution = solve_scipy(problems)
        else:
            solution = solve_lapx(problems, self.num_threads
                                  or torch.get_num_threads())
        return torch.from_numpy(solution).to(device)


@lru_cache(maxsize=None)  # once
def _say_on_host(reason: str) -> None:
    _logger.warning(
        'ExactMatcher solves similarities of a GPU on the CPU: %s. The GPU '
        'waits meanwhile.', reason)


def _check_size(similarity: Tensor, max_patches: int) -> int:
    """Refuse what no solver can take, and return N."""
    num = check_square(similarity)
    if num > max_patches:
        raise ValueError(
            f'Expected at most {max_patches} patches for an exact matching, '
            f'whose time grows as N^3, got N = {num}. Match at a later, '
            'smaller stage, or raise max_patches of ExactMatcher.')
    return num


def _check_finite(problems: np.ndarray) -> None:
    # By numpy: torch's threads, once awake, spin on and slow the solver's.
    if not np.isfinite(problems).all():
        raise ValueError(NOT_FINITE)
