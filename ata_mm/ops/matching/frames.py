# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""From the features of a clip to a matcher, and to its matchings."""
from typing import Callable, Optional, Tuple

import torch
from torch import Tensor

from ..similarity import neighbour_similarity

Matcher = Callable[..., Tensor]

_MAX_SIMILARITIES = 2**26  # at a time: 256 MB


def match_frames(x: Tensor,
                 matcher: Matcher,
                 grid: Optional[Tuple[int, int]] = None) -> Tensor:
    """Match all neighbouring frames of all clips.

    Args:
        x (Tensor): Patch features (B, T, N, C).
        matcher (Callable): See :func:`~ata_mm.ops.align_frames`.
        grid (tuple[int, int], optional): Height and width of the patch grid,
            passed on to the matcher as ``grid=`` when given. Defaults to None.

    Returns:
        Tensor: What the matcher makes of each pair, (B, T-1, ...).
    """
    options = {} if grid is None else dict(grid=grid)
    if hasattr(matcher, 'match_frames'):
        return matcher.match_frames(x, **options)
    batch, frames, num, _ = x.shape
    if frames == 1:
        return x.new_empty(batch, 0, num, dtype=torch.int64)
    # Several pairs at a time, so that large maps fit into memory.
    step = max(1, _MAX_SIMILARITIES // (batch * num**2))
    return torch.cat([
        matcher(neighbour_similarity(x[:, start:start + step + 1]), **options)
        for start in range(0, frames - 1, step)
    ], 1)
