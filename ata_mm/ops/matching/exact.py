# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Optimal one-to-one matching (Kuhn-Munkres), Eq. 18."""

import logging
from functools import cache

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ..lap import (
    HAS_LAPX,
    HAS_TRITON,
    MAX_TRITON,
    choose_solver,
    solve_lap,
)
from ..types import Grid
from ..validation import check_counts, check_square
from .base import Matcher, Matching

_logger = logging.getLogger(__name__)


class ExactMatcher(Matcher):
    r"""Optimal one-to-one matcher (Eqs. 4-6), the paper's.

    .. math:: \pi = \arg\max_\rho \sum_i S[i, \rho(i)]

    over the permutations :math:`\rho` of the patches of a frame. O(N^3) time
    a problem in the worst case: for up to some hundred patches a frame. All
    solvers reach the same optimum, by the same permutation except for ties:

    - 'triton', on a GPU, up to 1024 patches: no device synchronisation, and
      torch.compile and CUDA graphs can capture it. Exact for similarities of
      at least 1/16 of the largest one of a frame pair; smaller ones are
      truncated to multiples of at most 2**-27 of it, and the sum may miss the
      optimum by at most N * 2**-26 of it. A frame pair that holds NaN or
      infinity is not reported, which would synchronise: its matching is the
      identity, and the loss shows the NaN.
    - 'lapx', on the CPU, in threads.
    - 'scipy', on the CPU, one problem after another: the reference.

    Args:
        solver (str, optional): 'triton', 'lapx' or 'scipy'. Defaults to None:
            triton for similarities on a GPU; lapx on the CPU, or if triton is
            not installed or N above 1024; scipy if lapx is not installed.
        num_threads (int, optional): Threads of lapx. Defaults to None,
            ``torch.get_num_threads()`` (set by OMP_NUM_THREADS), by which
            several processes can share a machine.
        max_patches (int): Largest N accepted. Defaults to 4096 (64x64), where
            a solve takes seconds a frame pair.

    Raises:
        ValueError: If ``solver`` is unknown or not installed, or
            another option is not an integer of at least 1.
    """

    def __init__(
        self,
        solver: str | None = None,
        num_threads: int | None = None,
        max_patches: int = 4096,
    ) -> None:
        if solver not in (None, 'lapx', 'scipy', 'triton'):
            raise ValueError(
                "Expected solver='lapx', solver='scipy' or "
                f"solver='triton', got {solver!r}."
            )
        if solver == 'lapx' and not HAS_LAPX:
            raise ValueError(
                "solver='lapx' needs the package lapx >= 0.11: "
                "pip install lapx, or use solver='scipy'."
            )
        if solver == 'triton' and not HAS_TRITON:
            raise ValueError(
                "solver='triton' needs the package triton, which "
                'comes with torch for CUDA: pip install triton.'
            )
        if num_threads is not None:
            check_counts(num_threads=num_threads)
        check_counts(max_patches=max_patches)
        self.solver = solver
        self.num_threads = num_threads
        self.max_patches = max_patches

    def match(self, similarity: Tensor, grid: Grid | None = None) -> Tensor:
        """Solve a batch of problems.

        Args:
            similarity (Tensor): (..., N, N); ``[..., i, j]`` compares patch i
                of a frame with patch j of the next one.
            grid (tuple[int, int], optional): Not used. Defaults to None.

        Returns:
            Tensor: int64 permutations of shape (..., N) on the input's device.

        Raises:
            ValueError: If the problems are not square or too large; if they
                hold NaN or infinity, on the CPU solvers; if they are on the
                CPU and ``solver`` is 'triton'.
        """
        num = check_square(similarity)
        self._check_size(num)
        if similarity.numel() == 0:  # a clip of one frame has no frame pair
            return similarity.new_empty(similarity.shape[:-1]).long()
        # fp32 also for half-precision input: the solvers know no bfloat16.
        problems = similarity.detach().reshape(-1, num, num).float()
        self.solver_for(problems.device, num)  # raises and warns
        solution = solve_lap(problems, self.solver, self.num_threads)
        return solution.view(similarity.shape[:-1])

    def match_pairs(
        self,
        source: Tensor,
        target: Tensor,
        grid: Grid | None = None,
        min_similarity: float | None = None,
        support_radius: int = 0,
    ) -> Matching:
        """Match by features, unless there are too many patches.

        For arguments and errors see `Matcher.match_pairs`.

        Returns:
            Matching: int64 permutations of shape (B, P, N).
        """
        self._check_size(target.shape[2])  # before N x N similarities exist
        return super().match_pairs(
            source, target, grid, min_similarity, support_radius
        )

    def solver_for(self, device: torch.device, num_patches: int) -> str:
        """Return the name of the solver for a device and a problem size.

        Warns once if similarities on a GPU have to be solved on the CPU.

        Args:
            device (torch.device): Device of the similarities.
            num_patches (int): Number of patches N a frame.

        Returns:
            str: 'triton', 'lapx' or 'scipy'.

        Raises:
            ValueError: If ``solver`` is 'triton' and N too large for it.
        """
        fits = num_patches <= MAX_TRITON
        if self.solver == 'triton' and not fits:
            raise ValueError(
                f"solver='triton' expected at most {MAX_TRITON} patches, got "
                f'N = {num_patches}. Use a CoarseToFineMatcher, or '
                "solver='lapx' on the CPU."
            )
        if self.solver is not None:
            return self.solver
        solver = choose_solver(device, num_patches)
        falls_back = device.type == 'cuda' and solver != 'triton'
        if falls_back and not is_compiling():
            _warn_of_fallback(
                f'more than {MAX_TRITON} patches a frame'
                if HAS_TRITON
                else 'triton is not installed'
            )
        return solver

    def can_compile(self, device: torch.device, num_patches: int) -> bool:
        """Return True: the solvers are one operator."""
        return True

    def _check_size(self, num_patches: int) -> None:
        if num_patches > self.max_patches:
            raise ValueError(
                f'Expected at most {self.max_patches} patches for an exact '
                'matching, whose time grows as N^3, got N = '
                f'{num_patches}. Match at a later, smaller stage, use a '
                'CoarseToFineMatcher, or raise max_patches of ExactMatcher.'
            )


@cache  # one warning a reason, not one a block and step
def _warn_of_fallback(reason: str) -> None:
    _logger.warning(
        'ExactMatcher falls back to the CPU solver, which synchronises the '
        'GPU: %s.',
        reason,
    )
