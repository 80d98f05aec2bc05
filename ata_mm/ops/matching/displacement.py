# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Continuous displacements of patches (the outlook of Sec. 5)."""
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..displacement_alignment import DisplacementAlignment, chain_displacements
from .checks import check_finite, check_grid, check_radius, check_square
from .window import correlate_window, gather_window, window_offsets

Grid = Optional[Tuple[int, int]]


class DisplacementMatcher:
    r"""A displacement of each patch, continuous and differentiable.

    .. math:: d_i = \sum_k o_k \, softmax_k(S[i, i + o_k] / \tau)

    over the offsets :math:`o_k` of a window: the paper's "consecutive
    displacements rather than a discrete reordering". Routes follow the
    displacements, and features are sampled between patches: see
    :class:`~ata_mm.ops.DisplacementAlignment`. Gradients flow into the
    features that are matched.

    For motion of fractions of a patch, which no reordering of patches can
    follow, and for large maps: O(N r^2 C) a pair and no N x N similarities.
    Patches may meet, and what leaves the window is lost. The mean over the
    window draws patches that resemble all their neighbours, as in a plain
    wall, to the middle of the window, or inwards at the border; on still
    videos of such the routes are worse than those of temporal attention. A
    lower temperature follows the best match more closely, with gradients to
    fewer patches. Fractions of a patch are found to some hundredths where the
    temperature is 0.8 of what similarity falls by from the best match to its
    neighbour; below, they are drawn to whole patches.

    Args:
        radius (int): Of the window, in patches. Defaults to 3.
        temperature (float): In units of cosine similarity. Defaults to 0.02.

    Raises:
        ValueError: If ``radius`` is no integer from 1 or ``temperature`` not
            above 0.
    """

    def __init__(self, radius: int = 3, temperature: float = 0.02) -> None:
        self.radius = check_radius(radius)
        if not temperature > 0:
            raise ValueError(f'Expected temperature > 0, got {temperature}.')
        self.temperature = temperature

    def __repr__(self) -> str:
        return (f'DisplacementMatcher(radius={self.radius}, '
                f'temperature={self.temperature})')

    def __call__(self, similarity: Tensor, grid: Grid = None) -> Tensor:
        """Displacements from similarities.

        Args:
            similarity (Tensor): (..., N, N), S[i, j] of patch i in one frame
                and patch j in the next.
            grid (tuple[int, int], optional): Height and width of the patch
                grid; needed. Defaults to None.

        Returns:
            Tensor: fp32 (..., N, 2), the rows and columns by which each patch
            moves, in patches.

        Raises:
            ValueError: If the problems are not square, or hold NaN or
                infinity; if ``grid`` does not hold N patches.
        """
        num = check_square(similarity)
        grid = check_grid(grid, num, self)
        problems = similarity.float().reshape(-1, num, num)
        check_finite(problems)
        windows = gather_window(problems, grid, self.radius)
        return self._mean(windows).view(*similarity.shape[:-1], 2)

    def match_frames(self, x: Tensor, grid: Grid = None) -> Tensor:
        """Displacements from features, into which gradients flow.

        Args:
            x (Tensor): Patch features (B, T, N, C).
            grid (tuple[int, int], optional): As above. Defaults to None.

        Returns:
            Tensor: fp32 (B, T-1, N, 2).

        Raises:
            ValueError: If x holds NaN or infinity; if ``grid`` does not hold N
                patches.
        """
        grid = check_grid(grid, x.shape[2], self)
        with torch.autocast(x.device.type, enabled=False):
            x = F.normalize(x.float(), dim=-1)
            check_finite(x)
            windows = correlate_window(x[:, :-1].flatten(0, 1),
                                       x[:, 1:].flatten(0,
                                                        1), grid, self.radius)
            return self._mean(windows).unflatten(0, (len(x), x.shape[1] - 1))

    def follow(self, displacement: Tensor,
               grid: Tuple[int, int]) -> DisplacementAlignment:
        """The routes of displacements (B, T-1, N, 2)."""
        return DisplacementAlignment(
            chain_displacements(displacement, grid), grid)

    def _mean(self, windows: Tensor) -> Tensor:
        """Similarities (P, N, K) -> mean offsets (P, N, 2)."""
        weight = (windows / self.temperature).softmax(-1)
        offsets = window_offsets(self.radius, windows.device)
        return weight @ offsets.to(weight.dtype)
