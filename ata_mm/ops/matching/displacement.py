# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Matching by continuous displacements (Sec. 5)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..alignment.displacement import (
    DisplacementAlignment,
    accept,
    chain_displacements,
)
from ..alignment.matches import check_matches, take_frames
from ..norms import normalize
from ..types import Grid
from ..validation import (
    check_counts,
    check_finite,
    check_grid,
    check_square,
    check_temperature,
)
from .auto import AutoMatcher
from .base import Matcher, Matching
from .similarity import unfold_support
from .window import correlate_window, gather_window, window_offsets


class DisplacementMatcher(Matcher):
    r"""Differentiable matcher by continuous displacements.

    .. math:: d_i = \sum_k o_k \, softmax_k(S[i, i + o_k] / \tau)

    over the offsets :math:`o_k` of a window: the paper's "consecutive
    displacements rather than a discrete reordering". Routes follow the
    displacements, and features are sampled between patches: see
    :class:`~ata_mm.ops.DisplacementAlignment`. Gradients flow into the
    features that are matched.

    For motion of fractions of a patch, which no permutation can follow, and
    for large maps: O(N r^2 C) time a frame pair and no N x N similarities.
    Several patches may move to the same position, and content that leaves the
    window is lost. Patches that resemble all their neighbours, as in a plain
    wall, are drawn to the centre of the window, or inwards at the border; on
    nearly still videos of this kind the routes are worse than those of
    temporal attention. A lower temperature follows the best match more
    closely, with gradients to fewer patches. Fractions of a patch are accurate
    to some hundredths if the temperature is 0.8 of the drop in similarity from
    the best match to its neighbour; below that, they are drawn to whole
    patches.

    Args:
        radius (int): Radius of the window, in patches. Defaults to 3.
        temperature (float): In units of cosine similarity. Defaults to 0.02.

    Raises:
        ValueError: If ``radius`` is not an integer of at least 1, or
            ``temperature`` is not above 0.
    """

    def __init__(self, radius: int = 3, temperature: float = 0.02) -> None:
        check_counts(radius=radius)
        self.radius = int(radius)
        check_temperature(temperature)
        self.temperature = temperature

    def match(self, similarity: Tensor, grid: Grid | None = None) -> Tensor:
        """Compute displacements from similarities.

        Args:
            similarity (Tensor): (..., N, N); ``[..., i, j]`` compares patch i
                of a frame with patch j of the next one.
            grid (tuple[int, int]): Height and width of the patch grid;
                required.

        Returns:
            Tensor: fp32 of shape (..., N, 2), the rows and columns by which
            each patch moves, in patches.

        Raises:
            ValueError: If the problems are not square, or hold NaN or
                infinity; if ``grid`` does not hold N patches.
        """
        num = check_square(similarity)
        grid = check_grid(grid, num, self)
        problems = similarity.float().reshape(-1, num, num)
        check_finite(problems)
        # Only N K of the N^2 similarities are used: match_pairs computes
        # those alone, and with a gradient.
        windows = gather_window(problems, grid, self.radius)
        with torch.autocast(similarity.device.type, enabled=False):
            displacement = self._mean_offset(windows)
        return displacement.view(*similarity.shape[:-1], 2)

    def match_pairs(
        self,
        source: Tensor,
        target: Tensor,
        grid: Grid | None = None,
        min_similarity: float | None = None,
        support_radius: int = 0,
    ) -> Matching:
        """Compute displacements from features, with gradients to them.

        Args:
            source (Tensor): See `Matcher.match_pairs`.
            target (Tensor): Likewise.
            grid (tuple[int, int]): Height and width of the patch grid;
                required.
            min_similarity (float, optional): See `Matcher.match_pairs`. A
                match is accepted if most of the weight of its window is on
                patches that are more similar. Defaults to None.
            support_radius (int): See `Matcher.match_pairs`. Defaults to 0.

        Returns:
            Matching: Displacements in patches, fp32 of shape (B, P, N, 2).

        Raises:
            ValueError: If the features hold NaN or infinity; if ``grid`` does
                not hold N patches.
        """
        shape = target.shape[:3]
        grid = check_grid(grid, shape[2], self)
        with torch.autocast(target.device.type, enabled=False):
            first, second = (
                unfold_support(normalize(x), grid, support_radius)
                for x in (source, target)
            )
            # Checked here: softmax would spread a NaN over the window.
            check_finite(first)
            check_finite(second)
            windows = correlate_window(
                first.expand_as(second).flatten(0, 1),
                second.flatten(0, 1),
                grid,
                self.radius,
            )
            if min_similarity is None:
                return Matching(self._mean_offset(windows).view(*shape, 2))
            # -inf outside the grid stays below every similarity.
            inside = windows > float('-inf')
            raised = windows.clamp_min(min_similarity).where(inside, windows)
            weight = self._weight(raised).detach()
            share = (weight * (windows > min_similarity)).sum(-1)
            return Matching(
                self._mean_offset(raised).view(*shape, 2),
                (share > 0.5).view(shape),
            )

    def follow(
        self,
        matching: Tensor,
        grid: Grid | None,
        accepted: Tensor | None = None,
        anchors: Sequence[int] | None = None,
    ) -> DisplacementAlignment:
        """Compose displacements to positions.

        Args:
            matching (Tensor): Displacements in patches, (B, T-1, N, 2).
            grid (tuple[int, int]): Height and width of the patch grid;
                required.
            accepted (Tensor, optional): See `Matcher.follow`. Defaults to
                None.
            anchors (Sequence[int], optional): Likewise. Defaults to None.

        Returns:
            DisplacementAlignment: Its ``positions`` have shape (B, T, N, 2).

        Raises:
            ValueError: If an argument has another shape, an anchor is not
                before its frame, or the grid does not hold N patches.
        """
        shape = (*matching.shape[:3], 2)
        check_matches(shape, matching, accepted, anchors)
        grid = check_grid(grid, matching.shape[2], self)
        positions = chain_displacements(matching, grid, anchors)
        if accepted is not None:
            before = take_frames(positions, anchors)
            accepted = accept(before, accepted, grid)
        return DisplacementAlignment(
            positions, grid, AutoMatcher(), accepted, anchors
        )

    def _weight(self, windows: Tensor) -> Tensor:
        # Offsets outside the grid have similarity -inf, hence weight 0.
        return (windows / self.temperature).softmax(-1)

    def _mean_offset(self, windows: Tensor) -> Tensor:
        """Average the offsets: similarities (P, N, K) -> (P, N, 2)."""
        weight = self._weight(windows)
        offsets = window_offsets(self.radius, windows.device)
        return weight @ offsets.to(weight.dtype)
