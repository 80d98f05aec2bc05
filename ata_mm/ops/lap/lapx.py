# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Linear assignment on the CPU: lapx in threads, scipy as the reference."""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..validation import NOT_FINITE, NotFiniteError

try:
    from lap import lapjvr_batch
except ImportError:  # scipy finds the same optimum, several times slower
    HAS_LAPX = False
else:
    HAS_LAPX = True
CPU_SOLVER = 'lapx' if HAS_LAPX else 'scipy'

_OMP_PAUSE_SOFT = 1  # omp_pause_resource_t of OpenMP 5.0
_PROCESS = os.getpid()  # the one that may have OpenMP threads
# Problems differ in difficulty: several chunks per thread balance the load.
_CHUNKS_PER_THREAD = 8


def solve_on_cpu(
    similarity: Tensor,
    solver: str = CPU_SOLVER,
    num_threads: int | None = None,
) -> Tensor:
    """Solve a batch of problems on the CPU, from a tensor on any device.

    Args:
        similarity (Tensor): fp32 of shape (P, N, N), no gradient.
        solver (str): 'lapx' or 'scipy'. Defaults to lapx if installed.
        num_threads (int, optional): Maximum number of threads of lapx.
            Defaults to None, ``torch.get_num_threads()``.

    Returns:
        Tensor: int64 permutations of shape (P, N) on the input's device.

    Raises:
        NotFiniteError: If a similarity is NaN or infinite.
    """
    problems = similarity.cpu().numpy()
    # By numpy: a torch operation would wake OpenMP threads, which spin
    # afterwards and slow the solver down.
    if not np.isfinite(problems).all():
        raise NotFiniteError(NOT_FINITE)
    if solver == 'scipy':
        solution = solve_scipy(problems)
    else:
        solution = solve_lapx(problems, num_threads or torch.get_num_threads())
    return torch.from_numpy(solution).to(similarity.device)


def solve_scipy(similarity: np.ndarray) -> np.ndarray:
    """Solve a batch of problems with scipy, one after the other.

    Args:
        similarity (np.ndarray): Finite similarities of shape (P, N, N), P > 0.

    Returns:
        np.ndarray: int64 permutations of shape (P, N) that maximise the sum.
    """
    # Row indices, the first result, are 0..N-1 for square problems.
    solved = [linear_sum_assignment(s, maximize=True)[1] for s in similarity]
    return np.stack(solved).astype(np.int64)


def solve_lapx(similarity: np.ndarray, num_threads: int) -> np.ndarray:
    """Solve a batch of problems with lapx (Jonker-Volgenant) in threads.

    Args:
        similarity (np.ndarray): Finite similarities of shape (P, N, N), P > 0.
            fp32 is solved with float64 dual variables, without a float64 copy.
        num_threads (int): Maximum number of threads.

    Returns:
        np.ndarray: int64 permutations of shape (P, N) that maximise the sum.
    """
    # lapx releases the GIL. Its own thread pool is not used: while the caller
    # sleeps, Linux tends to schedule two of its workers on one core for
    # milliseconds. Here the calling thread works as well.
    columns = np.empty(similarity.shape[:2], np.int64)
    used = min(num_threads, len(similarity))
    # One iterator feeds all threads; next() on it is atomic under the GIL.
    step = -(-len(similarity) // (_CHUNKS_PER_THREAD * used))
    chunks = iter(
        [
            slice(start, start + step)
            for start in range(0, len(similarity), step)
        ]
    )

    def solve() -> None:
        for chunk in chunks:
            # lapx minimises. The thread that solves a chunk negates it.
            columns[chunk] = lapjvr_batch(
                -similarity[chunk], return_cost=False, n_threads=1
            )[1]

    if used == 1:
        solve()
        return columns
    pause_openmp()
    pool = _thread_pool(num_threads - 1, os.getpid())
    workers = []
    for _ in range(used - 1):
        try:
            workers.append(pool.submit(solve))
        except RuntimeError as error:
            # The main thread has ended: this thread does all the work.
            if 'after interpreter shutdown' not in str(error):
                raise
    solve()
    # Waits for the last chunks, and raises the errors of the workers.
    for worker in workers:
        worker.result()
    return columns


@cache
def _thread_pool(num_threads: int, process: int) -> ThreadPoolExecutor:
    """Return the pool of a process.

    Args:
        num_threads (int): Number of threads, without the calling one.
        process (int): Process id, part of the cache's key: the threads of a
            pool do not survive a fork, as in the workers of a data loader.
    """
    return ThreadPoolExecutor(num_threads, thread_name_prefix='ata_mm_lapx')


def pause_openmp() -> bool:
    """End the idle OpenMP threads of torch.

    After an operation the threads of GNU OpenMP spin for some milliseconds
    until the next one. Solver threads that share the cores with them take 1.5
    times as long. OpenMP 5.0's ``omp_pause_resource_all`` ends the
    threads of the calling thread only; the next torch operation starts new
    ones in about 0.1 ms.

    Returns:
        bool: True if they have ended. False within a parallel region, in a
        forked process, and if torch was built without GNU OpenMP (macOS,
        Windows).
    """
    library = _gnu_openmp()
    # OpenMP would wait forever for threads that have not survived a fork.
    if library is None or os.getpid() != _PROCESS:
        return False
    return library.omp_pause_resource_all(_OMP_PAUSE_SOFT) == 0


@cache
def _gnu_openmp() -> ctypes.CDLL | None:
    """Return the copy of GNU OpenMP that torch has loaded, if any."""
    # RTLD_NOLOAD finds a loaded library and never loads a second copy, whose
    # threads would not be torch's. Windows has no such mode.
    if not hasattr(os, 'RTLD_NOLOAD'):
        return None
    bundled = Path(torch.__file__).with_name('lib').glob('libgomp*')
    for name in [*map(str, bundled), 'libgomp.so.1']:
        try:
            library = ctypes.CDLL(name, mode=os.RTLD_NOLOAD)
            library.omp_pause_resource_all  # noqa: B018  from GCC 9 on
        except (OSError, AttributeError):
            continue
        return library
    return None
