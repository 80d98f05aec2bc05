# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment along routes that are distributions over patches (Sec. 5)."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from ..lap import solve_on_cpu
from .hard import Alignment
from .matches import (
    Anchors,
    check_matches,
    check_mixed,
    prepend_frame_0,
    take_clip,
    take_frames,
)


class SoftAlignment(Alignment):
    r"""Routes through weighted means of patches.

    .. math:: align(x)_t = Q_t x_t, \quad dealign(y)_t = Q_t^T y_t, \quad
              Q_0 = I, \; Q_t = Q_{t-1} P_t

    with the doubly stochastic plan P_t of each frame pair. If the plans are
    permutation matrices, this equals `Alignment`.

    De-alignment is the adjoint of `align`, not its inverse: a route writes to
    a patch with the weight with which it reads from it. If the rows of the
    plans sum to 1, `align` keeps a constant, and `dealign` the sums over a
    frame. The round trip ``Q^T Q x``
    smooths over patches that share routes, and is exact only in the limit of
    permutations. In `ATA` it affects the attention branch alone;
    the residual stream does not pass through the alignment.

    Products of plans become flatter along the clip: long clips need a lower
    temperature. O(T N^3) time to compose and O(T N^2 C) to apply; autograd
    keeps the B T N^2 entries of the plans.

    Args:
        plans (Tensor): Q of shape (B, T, N, N); ``plans[b, t, i, j]`` is the
            weight of patch j of frame t in route i.
        accepted (Tensor, optional): See `Alignment`. Defaults to None.
        anchors (Sequence[int] | Tensor, optional): Likewise. Defaults to None.

    Attributes:
        shape (torch.Size): (B, T, N).
        plans (Tensor): As given.

    Raises:
        ValueError: If ``plans`` is not floating point of shape (B, T, N, N),
            or as `Alignment` for the other arguments.
    """

    def __init__(
        self,
        plans: Tensor,
        accepted: Tensor | None = None,
        anchors: Anchors | None = None,
    ) -> None:
        _check_plans(plans, '(B, T, N, N)')
        self._set_matches(plans.shape[:3], accepted, anchors)
        self.plans = plans

    @classmethod
    def from_matching(
        cls,
        matching: Tensor,
        accepted: Tensor | None = None,
        anchors: Sequence[int] | None = None,
    ) -> 'SoftAlignment':
        """Compose the plans of a clip to routes.

        Args:
            matching (Tensor): Plans of shape (B, T-1, N, N);
                ``[:, t - 1]`` leads into frame t.
            accepted (Tensor, optional): As in `Alignment.from_matching`; a
                route is accepted if most of its weight is. Defaults to None.
            anchors (Sequence[int], optional): See :class:`Alignment`. Defaults
                to None.

        Returns:
            SoftAlignment: Its routes start at the patches of frame 0.

        Raises:
            ValueError: If an argument has another shape, or an anchor is not
                before its frame.
        """
        _check_plans(matching, '(B, T-1, N, N)')
        check_matches(matching.shape, matching, accepted, anchors)
        plans = chain_plans(matching, anchors)
        if accepted is not None:
            accepted = _accept(take_frames(plans, anchors), accepted)
        return cls(plans, accepted, anchors)

    def rematch(
        self, matching: Tensor, accepted: Tensor | None = None
    ) -> 'SoftAlignment':
        """Correct the routes by plans within each frame.

        Args:
            matching (Tensor): Plans of shape (B, T-1, N, N) of frames 1 to
                T-1.
            accepted (Tensor, optional): As in `from_matching`. Defaults to
                None.

        Returns:
            SoftAlignment: Routes whose matches all come from frame 0.

        Raises:
            ValueError: If an argument has another shape.
        """
        before = self.plans[:, 1:]
        check_matches(before.shape, matching, accepted)
        if accepted is not None:
            accepted = _accept(before, accepted)
        with torch.autocast(before.device.type, enabled=False):
            plans = torch.cat([self.plans[:, :1], before @ matching], 1)
        return type(self)(plans, accepted, [0] * before.shape[1])

    @property
    def device(self) -> torch.device:
        """Device of the plans."""
        return self.plans.device

    @cached_property
    def routes(self) -> Tensor:
        """Permutations nearest to the plans: int64 of shape (B, T, N).

        For uses that need one patch a route, such as figures. Computed at the
        first access, on the CPU, outside autograd.
        """
        # |Q - R|^2 = |Q|^2 + N - 2 <Q, R> over permutation matrices R: the
        # nearest one maximises the sum of the entries of Q that it selects.
        plans = self.plans.detach().float()
        return solve_on_cpu(plans.flatten(0, 1)).view(self.shape)

    @property
    def places(self) -> Tensor:
        """Patch of the largest weight in each route: int64 (B, T, N)."""
        return self.plans.argmax(-1)

    def clip(
        self, index: int, device: torch.device | None = None
    ) -> 'SoftAlignment':
        """Return the alignment of one clip, (1, T, N); see `Alignment`."""
        return type(self)(
            take_clip(self.plans, index, device),
            *self._matches_of_clip(index, device),
        )

    def align(self, x: Tensor) -> Tensor:
        """Average the patches of each route.

        Args:
            x (Tensor): (B, T, N, C') in the order of the frames, any C'.

        Returns:
            Tensor: (B, T, N, C') in route order, in the dtype of x.

        Raises:
            ValueError: If x is not floating point of this clip's (B, T, N).
        """
        return self._mix(self.plans, x)

    def dealign(self, y: Tensor) -> Tensor:
        """Apply the adjoint of `align`.

        Args:
            y (Tensor): (B, T, N, C') in route order, any C'.

        Returns:
            Tensor: (B, T, N, C') in the order of the frames, in the dtype of
            y.

        Raises:
            ValueError: If y is not floating point of this clip's (B, T, N).
        """
        return self._mix(self.plans.transpose(2, 3), y)

    def _mix(self, plans: Tensor, x: Tensor) -> Tensor:
        self._check(x)
        check_mixed(x)
        # In the precision of x: autocast would round positions to 8 bits.
        with torch.autocast(x.device.type, enabled=False):
            return plans.to(x.dtype) @ x


def _check_plans(plans: Tensor, shape: str) -> None:
    square = plans.shape[-2:] == 2 * plans.shape[-1:]
    if plans.ndim != 4 or not square or not plans.is_floating_point():
        raise ValueError(
            f'Expected floating-point plans of shape {shape}, got '
            f'{plans.dtype} of shape {tuple(plans.shape)}.'
        )


def _accept(plans: Tensor, accepted: Tensor) -> Tensor:
    """Accept routes by most of their weight: (B, T-1, N) -> (B, T, N)."""
    with torch.autocast(plans.device.type, enabled=False):
        share = plans.detach() @ accepted[..., None].to(plans.dtype)
    return prepend_frame_0(share.squeeze(-1) > 0.5)


def chain_plans(plans: Tensor, anchors: Sequence[int] | None = None) -> Tensor:
    """Compose the plans of a clip to plans from frame 0.

    Args:
        plans (Tensor): P_1 .. P_{T-1}, into frames 1 to T-1, (B, T-1, N, N).
        anchors (Sequence[int], optional): The frames that they come from.
            Defaults to None, the previous ones.

    Returns:
        Tensor: Q_0 .. Q_{T-1}, (B, T, N, N).
    """
    batch, pairs, num, _ = plans.shape
    # In the dtype of the plans, fp32 even under autocast: rounding to 8 bits
    # would accumulate over the T - 1 products.
    start = torch.eye(num, dtype=plans.dtype, device=plans.device)
    chained = [start.expand(batch, num, num)]
    with torch.autocast(plans.device.type, enabled=False):
        for anchor, plan in zip(anchors or range(pairs), plans.unbind(1)):
            # The plan of frame 0 is the identity.
            chained.append(chained[anchor] @ plan if anchor else plan)
    return torch.stack(chained, 1)
