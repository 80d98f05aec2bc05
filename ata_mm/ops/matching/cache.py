# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Cache of matchings between overlapping windows of a video."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .base import Matching, concatenate


class MatchingCache:
    r"""Cache of the matchings of frames that two successive calls share.

    Windows that slide over a video share frames. A matching depends only on
    the features of its two frames. If the last frames of one call are the
    first of the next, their frame pairs need no second solve. Frames are
    identified by their features, not by their indices: nothing is reused that
    depends on the position of a frame in its window.

    Before the first module that mixes frames, an image model computes bitwise
    equal features of a frame in every window, and the default tolerance of 0
    gives the result without a cache. In the first block of a ViT with
    ``match_on='content'`` features are equal up to rounding, since a time
    embedding is added and subtracted: a ``tolerance`` of 1e-5 accepts them,
    and matchings may differ where sums of similarities are equally close, as
    among the patches of a plain wall. With a time embedding in the compared
    features (``match_on='tokens'``), and in every later block, features
    differ, and all frame pairs are solved.

    It keeps the features of one call, and matchings without gradient. On a
    GPU the comparison synchronises host and device.

    Args:
        tolerance (float): Largest accepted difference of two features,
            relative to their root mean square. Defaults to 0, bitwise equal.

    Raises:
        ValueError: If the tolerance is negative or NaN.

    Attributes:
        solved (int): Number of frame pairs that have been solved.
        reused (int): Number of frame pairs that have been reused.
    """

    def __init__(self, tolerance: float = 0.0) -> None:
        if not tolerance >= 0:  # NaN as well
            raise ValueError(
                'Expected the tolerance of reused matchings to be a number '
                f'from 0, got {tolerance!r}.'
            )
        self.tolerance = tolerance
        self.solved = 0
        self.reused = 0
        self._frames: Tensor | None = None
        self._matching: Matching | None = None
        self._key: Any = None

    def __call__(
        self,
        x: Tensor,
        match: Callable[[Tensor], Matching],
        key: object = None,
    ) -> Matching:
        """Return the matchings of neighbouring frames, solving the new ones.

        Args:
            x (Tensor): Patch features (B, T, N, C).
            match (Callable): Matches the neighbouring frames of
                (B, T', N, C), each frame pair by itself.
            key (object): What the matchings depend on besides the features,
                such as matcher and options. Matchings of another key are not
                reused. Defaults to None.

        Returns:
            Matching: Of T-1 frame pairs, as ``match(x)`` returns.
        """
        if key != self._key:
            self._frames, self._key = None, key
        x = x.detach()
        frames = x.shape[1]
        # k shared frames have k - 1 pairs, the last ones of the previous call.
        known = max(self._shared_frames(x) - 1, 0)
        parts = []
        if known and self._matching is not None:
            parts.append(_last(self._matching, known))
        if known < frames - 1 or not parts:
            # From the last known frame on: its pair with the next is new.
            parts.append(match(x[:, known:]))
        # A copy: the caller may write the next window into the same tensor.
        self._frames, self._matching = x.clone(), concatenate(parts)
        self.reused += known
        self.solved += frames - 1 - known
        return self._matching

    def _shared_frames(self, x: Tensor) -> int:
        """Count the first frames of x that end the previous call."""
        previous = self._frames
        if (
            previous is None
            or previous.shape != x.shape
            or previous.device != x.device
            or previous.dtype != x.dtype
        ):
            return 0
        # The square of the largest number may exceed fp32.
        least = torch.finfo(torch.float32).tiny
        largest = x.float().abs().max().clamp_min(least)
        mean = (x.float() / largest).square().mean().sqrt() * largest
        bound = self.tolerance * mean
        # Candidates by the first frame alone, then compare all shared frames:
        # a still video has many candidates, a cut has none. All clips of a
        # batch have to share the same frames.
        first = (previous - x[:, :1]).abs().amax((0, 2, 3)) <= bound  # (T,)
        for start in first.nonzero().flatten().tolist():
            shared = x.shape[1] - start
            distance = (previous[:, start:] - x[:, :shared]).abs().max()
            if distance <= bound:
                return shared
        return 0


def _last(matching: Matching, count: int) -> Matching:
    """Return the last frame pairs, of at least that many."""
    kept, accepted = matching
    start = kept.shape[1] - count
    return Matching(
        kept[:, start:], None if accepted is None else accepted[:, start:]
    )
