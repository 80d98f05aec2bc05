# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Matchings of neighbouring windows of a video, each solved once."""
from typing import Callable, Optional

import torch
from torch import Tensor


class MatchingCache:
    r"""Hands on the matchings of frames that the call before had as well.

    Windows that slide over a video share frames. A matching depends on the
    features of its two frames alone, so where the last frames of one call are
    the first of the next, the pairs among them need no second solve. Frames
    are known by their features, not by their numbers: nothing is handed on
    that depends on the place of a frame in its window.

    The features of a frame are equal to the bit in every window for any image
    model before the first exchange between its frames. The result is then
    the one without a cache, and that is the default. In the first block of a
    ViT with ``match_on='content'`` they are equal but for rounding, since a
    time embedding is added and taken out again; a ``tolerance`` of 1e-5 lets
    them pass, and those matchings may differ where sums of similarities are as
    close as that, as among the patches of a plain wall. They are not equal,
    and all pairs are solved, where a time embedding is part of what is matched
    (``match_on='tokens'``), and in every block that has seen the other frames.

    Args:
        tolerance (float): Features are the same if no number differs by more
            than this, times their root mean square. Defaults to 0: equal to
            the bit.

    Attributes:
        solved (int): How many pairs of frames have been solved.
        reused (int): How many have been handed on.
    """

    def __init__(self, tolerance: float = 0.) -> None:
        self.tolerance = tolerance
        self.solved = 0
        self.reused = 0
        self._frames: Optional[Tensor] = None
        self._matching: Optional[Tensor] = None

    def __call__(self, x: Tensor, match: Callable[[Tensor], Tensor]) -> Tensor:
        """Match neighbouring frames.

        Args:
            x (Tensor): Patch features (B, T, N, C).
            match (Callable): Matches all neighbouring frames, (B, T', N, C)
                -> (B, T'-1, ...), each pair by itself.

        Returns:
            Tensor: (B, T-1, ...), as ``match(x)``.
        """
        x = x.detach()
        frames = x.shape[1]
        known = max(self._shared_frames(x) - 1, 0)  # pairs
        parts = [self._matching[:, frames - 1 - known:]] if known else []
        if known < frames - 1 or not parts:
            parts.append(match(x[:, known:]))
        self._frames, self._matching = x, torch.cat(parts, 1)
        self.reused += known
        self.solved += frames - 1 - known
        return self._matching

    def _shared_frames(self, x: Tensor) -> int:
        """How many of the first frames of x are the last ones of before."""
        before = self._frames
        if (before is None or before.shape != x.shape
                or before.device != x.device or before.dtype != x.dtype):
            return 0
        bound = self.tolerance * x.float().square().mean().sqrt()
        # One frame tells where the windows may meet, all of them whether.
        first = (before - x[:, :1]).abs().amax((0, 2, 3)) <= bound  # (T,)
        for start in first.nonzero().flatten().tolist():
            shared = x.shape[1] - start
            distance = (before[:, start:] - x[:, :shared]).abs().max()
            if distance <= bound:
                return shared
        return 0
