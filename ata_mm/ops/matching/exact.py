# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Optimal one-to-one matching (Kuhn-Munkres), Eq. 18."""
from typing import Optional, Tuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .checks import NOT_FINITE, check_square

try:
    from lap import lapjvr_batch
except ImportError:  # scipy gives the same optimum, several times slower
    lapjvr_batch = None


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
    """The same optimum by Jonker-Volgenant in native threads, GIL released.

    Args:
        similarity (np.ndarray): (P, N, N) finite numbers. fp32 is solved with
            float64 potentials, without a float64 copy.
        num_threads (int): At most this many threads.

    Returns:
        np.ndarray: (P, N) int64 permutations that maximise the sum.
    """
    _, columns = lapjvr_batch(
        -similarity, return_cost=False, n_threads=num_threads)
    return np.stack(columns)


class ExactMatcher:
    r"""The best one-to-one matching of every pair of frames (Eqs. 4-6).

    .. math:: \pi = \arg\max_\pi \sum_i S[i, \pi(i)]

    Optimal; O(N^3) a problem in the worst case. The choice up to some hundred
    patches a frame. Solved on the CPU, by lapx in threads, or by scipy where
    lapx is not installed: the same optimum, and the same permutation but for
    exact ties.

    Args:
        solver (str, optional): 'lapx' or 'scipy'. Defaults to None, lapx where
            it is installed.
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
        solver = solver or ('scipy' if lapjvr_batch is None else 'lapx')
        if solver not in ('lapx', 'scipy'):
            raise ValueError("Expected solver='lapx' or solver='scipy', got "
                             f'{solver!r}.')
        if solver == 'lapx' and lapjvr_batch is None:
            raise ValueError("solver='lapx' needs the package lapx >= 0.11: "
                             "pip install lapx, or use solver='scipy'.")
        self.solver = solver
        self.num_threads = num_threads
        self.max_patches = max_patches

    def __repr__(self) -> str:
        return f'ExactMatcher(solver={self.solver!r})'

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
                or infinity.
        """
        num = _check_size(similarity, self.max_patches)
        if similarity.numel() == 0:  # a clip of one frame has no pair
            return similarity.new_empty(similarity.shape[:-1]).long()
        problems = similarity.detach().reshape(-1, num, num).float()
        problems = problems.cpu().numpy()
        _check_finite(problems)
        if self.solver == 'scipy':
            solution = solve_scipy(problems)
        else:
            solution = solve_lapx(problems, self.num_threads
                                  or torch.get_num_threads())
        solution = torch.from_numpy(solution).to(similarity.device)
        return solution.view(similarity.shape[:-1])


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
