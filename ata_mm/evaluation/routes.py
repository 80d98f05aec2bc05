# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Comparison of routes with known motion."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ata_mm.ops import Alignment, DisplacementAlignment
from ata_mm.ops.permutation import identity
from ata_mm.ops.types import Grid

from .known_motion import MovingClip

# Half a patch is on the border of two patches, and either is right.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class RouteCount:
    """Routes counted by what became of the content that they follow.

    Counts of several clips are added with ``+``. A share is NaN if there is
    nothing to count.

    Args:
        visible (int): Routes whose content is still visible.
        exact (int): Those in the patch nearest to it: at most half a patch
            away, in rows and in columns.
        within (int): Those within one cell of it: at most one patch away, in
            rows and in columns.
        distance (float): Sum of their distances from it, in patches.
        rejected (int): Those that have been rejected.
        kept (int): Routes not rejected, with content visible or not.
        kept_within (int): Those within one cell of visible content.
        gone (int): Routes whose content has left or is hidden.
        gone_rejected (int): Those that have been rejected.
    """

    visible: int = 0
    exact: int = 0
    within: int = 0
    distance: float = 0.0
    rejected: int = 0
    kept: int = 0
    kept_within: int = 0
    gone: int = 0
    gone_rejected: int = 0

    def __add__(self, other: 'RouteCount') -> 'RouteCount':
        names = [field.name for field in fields(self)]
        return RouteCount(
            **{n: getattr(self, n) + getattr(other, n) for n in names}
        )

    @property
    def exact_share(self) -> float:
        """Share of visible content that is followed exactly."""
        return _divide(self.exact, self.visible)

    @property
    def within_share(self) -> float:
        """Share of visible content that is followed within one cell."""
        return _divide(self.within, self.visible)

    @property
    def mean_error(self) -> float:
        """Mean distance from visible content, in patches."""
        return _divide(self.distance, self.visible)

    @property
    def rejection_shares(self) -> tuple[float, float, float]:
        """Rejected of visible content, right of kept, rejected of gone."""
        return (
            _divide(self.rejected, self.visible),
            _divide(self.kept_within, self.kept),
            _divide(self.gone_rejected, self.gone),
        )


def _divide(count: float, total: int) -> float:
    return count / total if total else float('nan')


def route_positions(alignment: Alignment, grid: Grid) -> Tensor:
    """Return the positions that an alignment reads from.

    For soft alignments these are not ``alignment.routes``, the nearest
    permutations: they are the patches of the largest weight, or the positions
    between patches of a `DisplacementAlignment`.

    Args:
        alignment (Alignment): The alignment.
        grid (tuple[int, int]): Height and width of the patch grid.

    Returns:
        Tensor: Row and column in patches, (B, T, N, 2).
    """
    if isinstance(alignment, DisplacementAlignment):
        return alignment.positions.detach()
    return alignment.grid_positions(grid).float()


def nearest_neighbour(similarity: Tensor, grid: Grid | None = None) -> Tensor:
    """Match each patch to the most similar one, which others may share.

    A baseline to compare one-to-one matchings with, as a matcher for
    :func:`~ata_mm.ops.align_frames`.

    Args:
        similarity (Tensor): (..., N, N).
        grid (tuple[int, int], optional): Not used. Defaults to None.

    Returns:
        Tensor: Plans of one weight a row, (..., N, N).
    """
    num = similarity.shape[-1]
    return F.one_hot(similarity.argmax(-1), num).to(similarity.dtype)


def in_place(similarity: Tensor, grid: Grid | None = None) -> Tensor:
    """Match each patch to the one at its position, as without alignment.

    The baseline of every matching, as a matcher for
    :func:`~ata_mm.ops.align_frames`.

    Args:
        similarity (Tensor): (..., N, N), for its shape.
        grid (tuple[int, int], optional): Not used. Defaults to None.

    Returns:
        Tensor: Identity permutations (..., N).
    """
    return identity(*similarity.shape[:-1], device=similarity.device)


def count_followed(
    alignment: Alignment,
    clip: MovingClip,
    grid: Grid,
    steps: Sequence[int] = (1, 3, 5, 7),
) -> dict[str, RouteCount]:
    """Count the routes of a clip that follow its motion.

    Args:
        alignment (Alignment): Alignment of the clip, (1, T, N).
        clip (MovingClip): The clip.
        grid (tuple[int, int]): Height and width of the patch grid.
        steps (Sequence[int]): Numbers of steps after which to compare.
            Defaults to (1, 3, 5, 7).

    Returns:
        dict[str, RouteCount]: 'step', every step of every route from where the
        route is, right or not; '1', '3' and so on, the places of the routes
        after so many steps from frame 0, nothing if the clip has fewer.
    """
    positions = route_positions(alignment, grid)[0].cpu().numpy()
    num_frames, num = positions.shape[:2]
    segments = np.zeros((num_frames, num))
    if alignment.segments is not None:
        segments = alignment.segments[0].cpu().numpy()
    counts = {'step': RouteCount()}
    for frame in range(1, num_frames):
        start = positions[frame - 1]
        cell = np.rint(start).astype(int)
        moved = clip.follow(grid, frame - 1, frame)
        truth = moved[cell[:, 0] * grid[1] + cell[:, 1]] + start - cell
        kept = segments[frame] == segments[frame - 1]
        counts['step'] += _count(positions[frame], truth, kept, grid)
    for step in steps:
        counts[str(step)] = RouteCount()
        if step < num_frames:
            kept = segments[step] == segments[0]
            truth = clip.follow(grid, 0, step)
            counts[str(step)] = _count(positions[step], truth, kept, grid)
    return counts


def _count(
    position: np.ndarray, truth: np.ndarray, kept: np.ndarray, grid: Grid
) -> RouteCount:
    """Compare positions (N, 2) with true ones; ``kept`` is (N,)."""
    known = ~np.isnan(truth).any(1)
    position, truth, kept = position[known], truth[known], kept[known]
    last = np.array(grid) - 0.5
    visible = ((truth >= -0.5) & (truth <= last)).all(1)
    offset = np.abs(position - truth)[visible]
    # The larger of the distances in rows and in columns.
    cells = offset.max(1, initial=0) - _TOLERANCE
    kept_visible = kept[visible]
    return RouteCount(
        visible=int(visible.sum()),
        exact=int((cells <= 0.5).sum()),
        within=int((cells <= 1).sum()),
        distance=float(np.hypot(*offset.T).sum()),
        rejected=int((~kept_visible).sum()),
        kept=int(kept.sum()),
        kept_within=int((kept_visible & (cells <= 1)).sum()),
        gone=int((~visible).sum()),
        gone_rejected=int((~kept[~visible]).sum()),
    )
