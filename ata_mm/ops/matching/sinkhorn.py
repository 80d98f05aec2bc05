# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Soft matching by entropy-regularised optimal transport (Sec. 5).

Paper: "Sinkhorn Distances: Lightspeed Computation of Optimal Transport",
https://arxiv.org/abs/1306.0895
"""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..norms import normalize
from ..types import Grid
from ..validation import (
    check_counts,
    check_finite,
    check_grid,
    check_square,
    check_temperature,
)
from .base import Matcher, Matching
from .similarity import aggregate


class SinkhornMatcher(Matcher):
    r"""Differentiable matcher by doubly stochastic plans.

    .. math:: P = \arg\max_P \sum_{ij} P_{ij} S_{ij} + \tau H(P), \quad
              P \ge 0, \; P 1 = 1, \; P^T 1 = 1

    For end-to-end training: gradients flow through the plans into the matched
    features. As the temperature :math:`\tau` falls, P tends to the exact
    matching, and more iterations are needed. Routes compose by matrix product
    and are de-aligned by the transpose, which is not the inverse: see
    :class:`~ata_mm.ops.SoftAlignment`.

    In log space and in fp32 under any autocast. Rows of a plan sum to 1 up to
    rounding, so that a route is a mean of patches however many plans are
    composed. Columns do approximately: on 16x16 pixel patches of a real video,
    8 and 32 frames apart, they deviate by 0.01 on average and 0.07 at most
    with the defaults.

    O(num_iters N^2 + N^2 C) time a frame pair. Autograd keeps the
    similarities, the plan and 2 N numbers an iteration for every frame pair,
    and recomputes the iterations one by one in the backward pass. Solving a
    few frame pairs at a time would not lower that, hence ``max_patches``.

    Args:
        temperature (float): In units of cosine similarity. Defaults to 0.05.
        num_iters (int): Iterations, each over columns, then rows. Defaults to
            50.
        max_patches (int): Largest N accepted. Defaults to 1024 (32x32), 4 MB
            for each plan.

    Raises:
        ValueError: If an argument is not above 0, or a number of iterations or
            patches no integer.
    """

    def __init__(
        self,
        temperature: float = 0.05,
        num_iters: int = 50,
        max_patches: int = 1024,
    ) -> None:
        check_temperature(temperature)
        check_counts(num_iters=num_iters, max_patches=max_patches)
        self.temperature = temperature
        self.num_iters = num_iters
        self.max_patches = max_patches

    def match(self, similarity: Tensor, grid: Grid | None = None) -> Tensor:
        """Compute plans from similarities.

        Args:
            similarity (Tensor): (..., N, N); ``[..., i, j]`` compares patch i
                of a frame with patch j of the next one.
            grid (tuple[int, int], optional): Not used. Defaults to None.

        Returns:
            Tensor: fp32 plans of shape (..., N, N); ``[..., i, j]`` is the
            weight of patch j in the match of patch i.

        Raises:
            ValueError: If the problems are not square, too large, or hold NaN
                or infinity, on the CPU.
        """
        self._check_size(check_square(similarity))
        scores = similarity.float() / self.temperature
        check_finite(scores)
        # The optimum has the form P = exp(S / tau + u_i + v_j), with the dual
        # variables u of the rows and v of the columns. Each step solves one of
        # them for the other in closed form. Products with exp(S / tau) itself
        # would overflow fp32 at temperatures below 1/88.
        rows = columns = scores.new_zeros(())
        for _ in range(self.num_iters):
            columns = _normalise(scores, rows, -2)
            rows = _normalise(scores, columns, -1)
        return (scores + rows + columns).exp()

    def match_pairs(
        self,
        source: Tensor,
        target: Tensor,
        grid: Grid | None = None,
        min_similarity: float | None = None,
        support_radius: int = 0,
    ) -> Matching:
        """Compute plans from features, with gradients to them.

        Args:
            source (Tensor): See `Matcher.match_pairs`.
            target (Tensor): Likewise.
            grid (tuple[int, int], optional): Needed by ``support_radius``
                only. Defaults to None.
            min_similarity (float, optional): See `Matcher.match_pairs`. A
                match is accepted if most of its weight is on patches that are
                more similar. Defaults to None.
            support_radius (int): See `Matcher.match_pairs`. Defaults to 0.

        Returns:
            Matching: fp32 plans of shape (B, P, N, N).

        Raises:
            ValueError: If N is too large, or the features hold NaN or
                infinity, on the CPU.
        """
        num = target.shape[2]
        self._check_size(num)  # before the product allocates N^2
        # Not by pair_similarity, which is outside autograd.
        with torch.autocast(target.device.type, enabled=False):
            source = normalize(source)
            target = normalize(target)
            similarity = source @ target.transpose(2, 3)
            if support_radius:
                similarity = aggregate(
                    similarity, check_grid(grid, num), support_radius
                )
            return self._solve(similarity, grid, min_similarity)

    def _check_size(self, num: int) -> None:
        if num > self.max_patches:
            raise ValueError(
                f'Expected at most {self.max_patches} patches for soft plans, '
                f'whose memory grows as N^2 a frame pair, got N = {num}. '
                'Match at a later, smaller stage (temporal_blocks), use a '
                'CoarseToFineMatcher, or raise max_patches of '
                'SinkhornMatcher.'
            )


def _normalise(scores: Tensor, other: Tensor, dim: int) -> Tensor:
    """Return the dual variables with which the sums over ``dim`` are 1.

    Args:
        scores (Tensor): Similarities divided by the temperature, (..., N, N).
        other (Tensor): Dual variables of the other dimension.
        dim (int): -1 for rows, -2 for columns.

    Returns:
        Tensor: (..., N, 1) for rows, (..., 1, N) for columns.
    """
    # Recomputed in the backward pass: autograd keeps N numbers an iteration
    # instead of N^2.
    if torch.is_grad_enabled() and scores.requires_grad:
        return checkpoint(
            _log_sum,
            scores,
            other,
            dim,
            use_reentrant=False,
            preserve_rng_state=False,
        )
    return _log_sum(scores, other, dim)


def _log_sum(scores: Tensor, other: Tensor, dim: int) -> Tensor:
    return -(scores + other).logsumexp(dim, keepdim=True)
