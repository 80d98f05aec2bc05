# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Soft matching by optimal transport with entropy (the outlook of Sec. 5).

Paper: "Sinkhorn Distances: Lightspeed Computation of Optimal Transport",
https://arxiv.org/abs/1306.0895
"""
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .checks import check_finite, check_square

Grid = Optional[Tuple[int, int]]


class SinkhornMatcher:
    r"""Doubly stochastic plans in place of permutations, differentiable.

    .. math:: P = \arg\max_P \sum_{ij} P_{ij} S_{ij} + \tau H(P), \quad
              P \ge 0, \; P 1 = 1, \; P^T 1 = 1

    for end-to-end training: gradients flow through the plans into the features
    that are matched. As the temperature :math:`\tau` falls, P tends to the
    exact matching, at the price of more iterations. Routes compose by matrix
    product, and are de-aligned by the transpose, which is not the inverse:
    see :class:`~ata_mm.ops.SoftAlignment`.

    In log space and fp32 under any autocast. Columns of a plan sum to 1 but
    for rounding, rows the nearer the more iterations: on 16x16 pixel patches
    of a real video, 8 and 32 frames apart, they are off by 0.01 in the mean
    and 0.05 at most with the defaults.

    O(num_iters N^2 + N^2 C) a pair. Autograd keeps the similarities, the plan
    and 2 N numbers an iteration for every pair of a batch, whose iterations
    are recomputed one by one in the backward pass; no chunking lowers that,
    hence ``max_patches``.

    Args:
        temperature (float): In units of cosine similarity. Defaults to 0.05.
        num_iters (int): Each normalises rows, then columns. Defaults to 50.
        max_patches (int): Largest N accepted. Defaults to 1024 (32x32), 4 MB
            for each plan.

    Raises:
        ValueError: If an argument is not above 0.
    """

    def __init__(self,
                 temperature: float = 0.05,
                 num_iters: int = 50,
                 max_patches: int = 1024) -> None:
        if not temperature > 0 or num_iters < 1 or max_patches < 1:
            raise ValueError(
                'Expected temperature > 0, num_iters >= 1 and max_patches >= '
                f'1, got {temperature}, {num_iters} and {max_patches}.')
        self.temperature = temperature
        self.num_iters = num_iters
        self.max_patches = max_patches

    def __repr__(self) -> str:
        return (f'SinkhornMatcher(temperature={self.temperature}, '
                f'num_iters={self.num_iters})')

    def __call__(self, similarity: Tensor, grid: Grid = None) -> Tensor:
        """Plans from similarities.

        Args:
            similarity (Tensor): (..., N, N), S[i, j] of patch i in one frame
                and patch j in the next.
            grid (tuple[int, int], optional): Not used; matchers share one
                signature. Defaults to None.

        Returns:
            Tensor: fp32 plans (..., N, N); ``result[..., i, j]`` is the share
            of i that goes to j.

        Raises:
            ValueError: If the problems are not square, too large, or hold NaN
                or infinity. On a GPU the last is an asynchronous assertion.
        """
        self._check_size(check_square(similarity))
        scores = similarity.float() / self.temperature
        check_finite(scores)
        rows = columns = scores.new_zeros(())  # logarithms of the scaling
        for _ in range(self.num_iters):
            rows = _scaling(scores, columns, -1)
            columns = _scaling(scores, rows, -2)
        return (scores + rows + columns).exp()

    def match_frames(self, x: Tensor, grid: Grid = None) -> Tensor:
        """Plans from features, into which gradients flow.

        Args:
            x (Tensor): Patch features (B, T, N, C).
            grid (tuple[int, int], optional): Not used. Defaults to None.

        Returns:
            Tensor: fp32 plans (B, T-1, N, N).

        Raises:
            ValueError: If N is too large, or x holds NaN or infinity. On a GPU
                the last is an asynchronous assertion.
        """
        self._check_size(x.shape[2])
        with torch.autocast(x.device.type, enabled=False):
            x = F.normalize(x.float(), dim=-1)
            return self(x[:, :-1] @ x[:, 1:].transpose(2, 3))

    def _check_size(self, num: int) -> None:
        if num > self.max_patches:
            raise ValueError(
                f'Expected at most {self.max_patches} patches for soft plans, '
                f'whose memory grows as N^2 a pair of frames, got N = {num}. '
                'Match at a later, smaller stage (temporal_blocks), by '
                'CoarseToFineMatcher, or raise max_patches of '
                'SinkhornMatcher.')


def _scaling(scores: Tensor, other: Tensor, dim: int) -> Tensor:
    """What makes sums over ``dim`` 1; autograd keeps N of its N^2 numbers."""
    if torch.is_grad_enabled() and scores.requires_grad:
        return checkpoint(
            _scaling_of,
            scores,
            other,
            dim,
            use_reentrant=False,
            preserve_rng_state=False)
    return _scaling_of(scores, other, dim)


def _scaling_of(scores: Tensor, other: Tensor, dim: int) -> Tensor:
    return -(scores + other).logsumexp(dim, keepdim=True)
