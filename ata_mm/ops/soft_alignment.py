# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Routes that are distributions over patches (the outlook of Sec. 5)."""
from functools import cached_property

import torch
from torch import Tensor

from .alignment import Alignment
from .matching import ExactMatcher


class SoftAlignment(Alignment):
    r"""Routes that run through weighted means of patches.

    .. math:: align(x)_t = Q_t x_t, \quad dealign(y)_t = Q_t^T y_t, \quad
              Q_0 = I, \; Q_t = Q_{t-1} P_t

    with the doubly stochastic plan P_t of each pair of frames. Where the plans
    are permutation matrices, this is what `Alignment` does.

    What de-alignment is: the adjoint of `align`. What route i has read from a
    patch with some weight it writes back with the same weight, sums over a
    frame are kept, and a constant stays one. What it is not: the inverse.
    The round trip ``Q^T Q x`` is a smoothing over the patches that share
    routes, and exact only as the plans tend to permutations; the residual
    ``x - Q^T Q x`` is the detail that soft routes do not tell apart, all of x
    but its mean where the plans are uniform. In `ATA` it touches the branch
    only: the stream x itself goes around the alignment.

    Products of plans become flatter along the clip, so that long clips need a
    lower temperature. O(T N^3) to compose and O(T N^2 C) to apply; autograd
    keeps the B T N^2 entries of the plans.

    Args:
        plans (Tensor): Q, (B, T, N, N); ``plans[b, t, i, j]`` is the share of
            patch j of frame t in route i.

    Raises:
        ValueError: If ``plans`` is not (B, T, N, N) of floating-point numbers.
    """

    def __init__(self, plans: Tensor) -> None:
        if (plans.ndim != 4 or plans.shape[2] != plans.shape[3]
                or not plans.is_floating_point()):
            raise ValueError('Expected floating-point plans of shape (B, T, N,'
                             f' N), got {plans.dtype} of {tuple(plans.shape)}')
        self.shape = plans.shape[:3]
        self.plans = plans

    @cached_property
    def routes(self) -> Tensor:
        """The permutations nearest to the plans, (B, T, N), int64: for what
        needs one patch a route, as a picture does. Outside autograd."""
        # |Q - R|^2 is least where R picks the largest sum of entries of Q.
        with torch.no_grad():
            return ExactMatcher()(self.plans)

    def align(self, x: Tensor) -> Tensor:
        """The mean patch of each route: (B, T, N, C') -> (B, T, N, C')."""
        return self._mix(self.plans, x)

    def dealign(self, y: Tensor) -> Tensor:
        """The adjoint of `align`: (B, T, N, C') -> (B, T, N, C')."""
        return self._mix(self.plans.transpose(2, 3), y)

    def _mix(self, plans: Tensor, x: Tensor) -> Tensor:
        self._check(x)
        # In the precision of x: autocast would round places to 8 bits.
        with torch.autocast(x.device.type, enabled=False):
            return plans.to(x.dtype) @ x


def chain_plans(plans: Tensor) -> Tensor:
    """Follow every patch of frame 0 through the frames.

    Args:
        plans (Tensor): P_1 .. P_{T-1} of the neighbouring pairs of frames,
            (B, T-1, N, N).

    Returns:
        Tensor: Q_0 .. Q_{T-1}, (B, T, N, N).
    """
    batch, _, num, _ = plans.shape
    start = torch.eye(num, dtype=plans.dtype, device=plans.device)
    chained = [start.expand(batch, num, num)]
    with torch.autocast(plans.device.type, enabled=False):
        for plan in plans.unbind(1):
            chained.append(chained[-1] @ plan)
    return torch.stack(chained, 1)
