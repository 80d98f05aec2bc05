# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment along continuous displacements of patches (Sec. 5)."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from ..lap import solve_on_cpu
from ..types import Grid
from ..validation import check_grid
from .hard import Alignment
from .matches import (
    Anchors,
    check_matches,
    check_mixed,
    prepend_frame_0,
    take_clip,
)

# Below this total weight a splatted value fades to 0 rather than being divided
# by an ever smaller number. This also bounds the gradient.
_MIN_WEIGHT = 0.1

Assign = Callable[[Tensor, Grid], Tensor]


class DisplacementAlignment(Alignment):
    r"""Routes through positions between patches.

    .. math:: align(x)_{t,i} = x_t(p_{t,i}), \quad p_{0,i} = i, \quad
              p_{t,i} = p_{t-1,i} + d_t(p_{t-1,i})

    with the displacements d_t of each frame pair. Both x and d are sampled
    bilinearly; positions are clamped to the grid.

    De-alignment splats: a patch gets the mean of the routes around it, with
    the weights of their sampling, and 0 if no route passes: `ATA` leaves that
    patch unchanged. This is the normalised adjoint of
    `align`, not its inverse. Without motion, or with motion of whole patches
    within the grid, the round trip is exact to the bit. At half a patch along
    one axis it averages three patches with weights 1/4, 1/2, 1/4: unrelated
    patches lose 0.61 of their norm, a wave of length 8 patches 0.15, of length
    16 patches 0.04. At half a patch along both axes unrelated patches lose
    0.80.

    O(T N C) time to apply, for any window size.

    Args:
        positions (Tensor): Row and column of each route in each frame, in
            patches, floating point of shape (B, T, N, 2).
        grid (tuple[int, int]): Height and width of the patch grid.
        assign (Callable, optional): Solver for `routes`: similarities
            (B, N, N) and the grid to permutations (B, N). Defaults to None, an
            exact solve, which takes seconds a frame for thousands of patches.
        accepted (Tensor, optional): See `Alignment`. Defaults to None.
        anchors (Sequence[int] | Tensor, optional): Likewise. Defaults to None.

    Attributes:
        shape (torch.Size): (B, T, N).
        positions (Tensor): As given, clamped to the grid.
        grid (tuple[int, int]): As given.

    Raises:
        ValueError: If ``positions`` is not floating point of shape
            (B, T, N, 2), the grid does not hold N patches, or as `Alignment`
            for the other arguments.
    """

    def __init__(
        self,
        positions: Tensor,
        grid: Grid,
        assign: Assign | None = None,
        accepted: Tensor | None = None,
        anchors: Anchors | None = None,
    ) -> None:
        if (
            positions.ndim != 4
            or positions.shape[3] != 2
            or not positions.is_floating_point()
        ):
            raise ValueError(
                'Expected floating-point positions of shape (B, T, N, 2), got '
                f'{positions.dtype} of shape {tuple(positions.shape)}.'
            )
        check_grid(grid, positions.shape[2])
        self._set_matches(positions.shape[:3], accepted, anchors)
        # An index outside the grid would fault on a GPU.
        positions = _clamp(positions, grid)
        self.positions = positions
        self.grid = grid
        self._assign = assign or _assign_exactly
        self._sampling = BilinearSampling(positions.flatten(0, 1), grid)
        # Here rather than in `dealign`, which may be recomputed.
        ones = torch.ones_like(positions[..., :1]).flatten(0, 1)
        self._total = self._sampling.write(ones).clamp_min(_MIN_WEIGHT)

    def rematch(
        self, matching: Tensor, accepted: Tensor | None = None
    ) -> 'DisplacementAlignment':
        """Correct the routes by displacements within each frame.

        Args:
            matching (Tensor): Displacements of the patches of frames 1 to
                T-1, in patches, (B, T-1, N, 2).
            accepted (Tensor, optional): Bool of shape (B, T-1, N), by patch.
                Defaults to None.

        Returns:
            DisplacementAlignment: Routes whose matches all come from frame 0.

        Raises:
            ValueError: If an argument has another shape.
        """
        before = self.positions[:, 1:]
        check_matches(before.shape, matching, accepted)
        later = move(before.flatten(0, 1), matching.flatten(0, 1), self.grid)
        if accepted is not None:
            accepted = accept(before, accepted, self.grid)
        return type(self)(
            torch.cat([self.positions[:, :1], later.view_as(before)], 1),
            self.grid,
            self._assign,
            accepted,
            [0] * before.shape[1],
        )

    def clip(
        self, index: int, device: torch.device | None = None
    ) -> 'DisplacementAlignment':
        """Return the alignment of one clip, (1, T, N); see `Alignment`."""
        return type(self)(
            take_clip(self.positions, index, device),
            self.grid,
            self._assign,
            *self._matches_of_clip(index, device),
        )

    @property
    def device(self) -> torch.device:
        """Device of the positions."""
        return self.positions.device

    @cached_property
    def routes(self) -> Tensor:
        """Permutations nearest to the positions: int64 of shape (B, T, N).

        For uses that need a permutation; see `places` for the nearest patch of
        each route. They maximise the sum of exp(-d^2) over the distances d:
        a sum of squares would move a whole row by one patch for each patch
        that leaves it. Computed at the first access, outside autograd.
        """
        with torch.no_grad():
            # In frame 0 every route is at its own patch: these positions are
            # the grid itself.
            patches = self.positions[:, 0]
            return torch.stack(
                [
                    self._assign(_closeness(positions, patches), self.grid)
                    for positions in self.positions.unbind(1)
                ],
                1,
            )

    @property
    def places(self) -> Tensor:
        """Patch nearest to each position: int64 of shape (B, T, N)."""
        # NaN has no integer: an index of it would fault on a GPU.
        nearest = self.positions.detach().nan_to_num().round().long()
        return nearest[..., 0] * self.grid[1] + nearest[..., 1]

    def displacement(self, grid: Grid) -> Tensor:
        """Compute the length of each step along each route, in patches.

        Args:
            grid (tuple[int, int]): Height and width of the patch grid.

        Returns:
            Tensor: fp32 of shape (B, T-1, N), the distances between the
            positions in the frames t and t + 1.

        Raises:
            ValueError: If the grid does not hold N patches.
        """
        check_grid(grid, self.shape[2])
        return self.positions.detach().diff(dim=1).norm(dim=-1)

    def align(self, x: Tensor) -> Tensor:
        """Sample at the positions of the routes.

        Args:
            x (Tensor): (B, T, N, C') in the order of the frames, any C'.

        Returns:
            Tensor: (B, T, N, C') in route order, in the dtype of x.

        Raises:
            ValueError: If x is not floating point of this clip's (B, T, N).
        """
        self._check(x)
        check_mixed(x)
        return self._sampling.read(x.flatten(0, 1)).view(x.shape)

    def dealign(self, y: Tensor) -> Tensor:
        """Splat to the patches around the positions.

        Args:
            y (Tensor): (B, T, N, C') in route order, any C'.

        Returns:
            Tensor: (B, T, N, C') in the order of the frames, in the dtype of
            y.

        Raises:
            ValueError: If y is not floating point of this clip's (B, T, N).
        """
        self._check(y)
        check_mixed(y)
        mean = self._sampling.write(y.flatten(0, 1)) / self._total
        return mean.to(y.dtype).view(y.shape)


def chain_displacements(
    displacement: Tensor, grid: Grid, anchors: Sequence[int] | None = None
) -> Tensor:
    """Compose the displacements of a clip to positions.

    Args:
        displacement (Tensor): Rows and columns by which each patch moves into
            frames 1 to T-1, in patches, (B, T-1, N, 2).
        grid (tuple[int, int]): Height and width of the patch grid.
        anchors (Sequence[int], optional): The frames that they come from.
            Defaults to None, the previous ones.

    Returns:
        Tensor: Positions of the routes that start at the patches of frame 0,
        (B, T, N, 2).
    """
    batch, pairs = displacement.shape[:2]
    # Made on the device: a copy from the host would synchronise a GPU.
    rows, columns = (
        torch.arange(
            side, dtype=displacement.dtype, device=displacement.device
        )
        for side in grid
    )
    start = torch.cartesian_prod(rows, columns)
    positions = [start.expand(batch, -1, -1)]
    for anchor, step in zip(anchors or range(pairs), displacement.unbind(1)):
        positions.append(move(positions[anchor], step, grid))
    return torch.stack(positions, 1)


def move(positions: Tensor, displacement: Tensor, grid: Grid) -> Tensor:
    """Move positions by the displacements at them, within the grid.

    Args:
        positions (Tensor): Row and column in patches, (B, N, 2).
        displacement (Tensor): Of the patches, (B, N, 2).
        grid (tuple[int, int]): Height and width of the patch grid.

    Returns:
        Tensor: (B, N, 2).
    """
    # A displacement is given at patches, and the position is between them.
    step = BilinearSampling(positions, grid).read(displacement)
    return _clamp(positions + step, grid)


def _clamp(positions: Tensor, grid: Grid) -> Tensor:
    """Clamp rows and columns to a grid: (..., 2) -> (..., 2)."""
    return torch.stack(
        [
            value.clamp(0, side - 1)
            for value, side in zip(positions.unbind(-1), grid)
        ],
        -1,
    )


def accept(positions: Tensor, accepted: Tensor, grid: Grid) -> Tensor:
    """Accept routes if most of the patches around them are accepted.

    Args:
        positions (Tensor): (B, T-1, N, 2), where the matches come from.
        accepted (Tensor): Bool of shape (B, T-1, N), by patch.
        grid (tuple[int, int]): Height and width of the patch grid.

    Returns:
        Tensor: Bool of shape (B, T, N), by route.
    """
    sampling = BilinearSampling(positions.detach().flatten(0, 1), grid)
    share = sampling.read(accepted.flatten(0, 1)[..., None].float())
    return prepend_frame_0(share.view(accepted.shape) > 0.5)


def _closeness(positions: Tensor, patches: Tensor) -> Tensor:
    """Rate patches for routes: positions, patches (B, N, 2) -> (B, N, N)."""
    distance = torch.cdist(positions, patches)
    # Content that leaves is held at the border, where it has moved less than
    # the content that arrives there and has the same claim otherwise.
    moved = (positions - patches).norm(dim=-1, keepdim=True)
    claim = 1 + 1e-2 * moved / moved.amax(1, keepdim=True).clamp_min(1)
    # The linear part sends what is left over to the nearest patches.
    return claim * torch.exp(-distance.square()) - 1e-3 * distance


class BilinearSampling:
    """Bilinear sampling of patch grids, and its adjoint.

    Exact to the bit at integer positions, which
    `torch.nn.functional.grid_sample` is not, since it normalises coordinates
    to -1..1. Rows of (P, N, C) are read as they lie in memory.

    Args:
        positions (Tensor): Row and column in patches, (P, N, 2), from 0 to
            height - 1 and width - 1. Gradients flow into them.
        grid (tuple[int, int]): Height and width of the patch grid.
    """

    def __init__(self, positions: Tensor, grid: Grid) -> None:
        corners, shares = [], []
        for value, side in zip(positions.unbind(-1), grid):
            # Indices have no gradient; the weights pass it to the positions.
            # NaN has no integer: an index of it would fault on a GPU.
            low = value.detach().floor().nan_to_num()
            # In the last row or column the fraction is 0, and the patch that
            # is repeated there has no weight.
            high = (low + 1).clamp_max(side - 1)
            corners.append(torch.stack([low, high]).long())
            fraction = value - low
            shares.append(torch.stack([1 - fraction, fraction]))
        # The four patches around a position, and their weights. By corner: one
        # pass for each of them takes the memory of a single map, where a
        # gather of (P, N, 4, C) would take four.
        rows, columns = corners  # (2, P, N)
        start = torch.arange(positions.shape[0], device=positions.device)
        start = start[:, None] * (grid[0] * grid[1])
        index = rows[:, None] * grid[1] + columns + start  # (2, 2, P, N)
        self._rows = index.view(4, -1)
        down, right = shares
        self._weights = (down[:, None] * right).flatten(0, 1)[..., None]

    def read(self, maps: Tensor) -> Tensor:
        """Sample (P, N, C) by patch -> (P, N, C) by position, same dtype."""
        rows = maps.reshape(-1, maps.shape[-1])
        # Summed in the dtype of the weights, fp32, also for half precision.
        sampled = torch.zeros_like(self._weights[0])
        for index, weight in zip(self._rows, self._weights):
            corner = rows.index_select(0, index).view_as(maps)
            sampled = sampled + corner * weight
        return sampled.to(maps.dtype)

    def write(self, values: Tensor) -> Tensor:
        """Splat (P, N, C) by position -> (P, N, C) by patch.

        The adjoint of `read`, in the dtype of the weights or of the values,
        whichever is wider.
        """
        parts = [(values * weight).flatten(0, 1) for weight in self._weights]
        total = torch.zeros_like(parts[0])
        for index, part in zip(self._rows, parts):
            total = total.index_add(0, index, part)
        return total.view(values.shape)


def _assign_exactly(similarity: Tensor, grid: Grid) -> Tensor:
    """Solve exactly, whatever the grid."""
    return solve_on_cpu(similarity)
