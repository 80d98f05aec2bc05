# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Controls for studies: routes at random, and routes of the true motion.

They bound what matching can contribute: a model that does no better with its
own routes than at random does not use them, and one that does no better with
the true motion does not lack better routes.
"""

import torch
from mmaction.registry import MODELS
from torch import Tensor

from ata_mm.ops import Alignment, ExactMatcher, Matcher, align_frames
from ata_mm.ops.matching import Matching
from ata_mm.ops.types import Grid
from ata_mm.registry import MATCHERS

from .backbones import ATATimeSformer
from .backbones.base import check_clips
from .temporal import ATA

# Similarity of points exp(-d^2 / 2) at a distance of d half patches: matches
# more than a patch apart are rejected.
_MIN_SIMILARITY = 0.13


@MATCHERS.register_module()
class RandomMatcher(Matcher):
    """Matcher that draws a permutation, a new one at every call.

    Its `key` means equal distributions instead of equal matchings: blocks draw
    apart, except those that share a drawing by ``share_alignment``.
    """

    def match(self, similarity: Tensor, grid: Grid | None = None) -> Tensor:
        """Match at random: (..., N, N) -> (..., N)."""
        return torch.rand_like(similarity[..., 0]).argsort(-1)


class PointMatcher(ExactMatcher):
    """Exact matcher of points by their distance.

    Args:
        scale (float): Distance at which the similarity is exp(-1/2).
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def match_pairs(
        self,
        source: Tensor,
        target: Tensor,
        grid: Grid | None = None,
        min_similarity: float | None = None,
        support_radius: int = 0,
    ) -> Matching:
        """Match the points of frame pairs, (B, P, N, 2)."""
        squares = (source[:, :, :, None] - target[:, :, None]).square().sum(-1)
        similarity = (-squares / (2 * self.scale**2)).exp()
        return self._solve(similarity, grid, min_similarity)


@MODELS.register_module()
class GivenRoutesATA(ATA):
    """ATA along routes that the backbone provides, instead of a matching."""

    given: Alignment | None = None

    def alignment(
        self,
        x: Tensor,
        position: Tensor | None = None,
        grid: Grid | None = None,
    ) -> Alignment:
        """Return the alignment that was provided.

        Raises:
            ValueError: If there is none.
        """
        if self.given is None:
            raise ValueError(
                'Expected routes from the backbone, got none. Use '
                "temporal=dict(type='GivenRoutesATA') in a "
                'TrueMotionTimeSformer, which follows the motion of rendered '
                'videos.'
            )
        return self.given


@MODELS.register_module()
class TrueMotionTimeSformer(ATATimeSformer):
    """ATATimeSformer whose routes follow the true motion of rendered clips.

    Clips have two more channels, those of
    :class:`~ata_mm.datasets.ArrayDecodeWithPositions`. The point that the
    centre of a patch shows is followed from frame 0 while it is in view, and
    from the previous frame if it enters later. Modules of type
    `GivenRoutesATA` attend along these routes.

    Args:
        patch_size (int): As of :class:`ATATimeSformer`. Defaults to 16.
        **kwargs: The other arguments of :class:`ATATimeSformer`.
    """

    def __init__(self, patch_size: int = 16, **kwargs) -> None:
        super().__init__(patch_size=patch_size, **kwargs)
        self.patch_size = patch_size

    def forward(self, x: Tensor) -> Tensor:
        """Compute the class token of clips.

        Args:
            x (Tensor): (B, 5, T, H, W).

        Returns:
            Tensor: Normalised class tokens (B, C).
        """
        check_clips(x, 5, self.num_frames, self.img_size)
        start, step = self.patch_size // 2, self.patch_size
        points = x[:, 3:, :, start::step, start::step]  # (B, 2, T, H', W')
        alignment = align_frames(
            points.flatten(3).permute(0, 2, 3, 1),
            PointMatcher(scale=self.patch_size / 2),
            self.grid,
            reference='first-or-previous',
            min_similarity=_MIN_SIMILARITY,
        )
        for module in self.modules():
            if isinstance(module, GivenRoutesATA):
                module.given = alignment
        return super().forward(x[:, :3])
