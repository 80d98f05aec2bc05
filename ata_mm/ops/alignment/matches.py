# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Matches of a clip: validation, the frames they come from, segments."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..permutation import identity
from ..validation import check, check_tensor

# The frames that matches come from: one for each frame from 1 on, or for each
# route in it, int64 of shape (B, T-1, N).
Anchors = Sequence[int] | Tensor


def take_clip(x: Tensor, index: int, device: torch.device | None) -> Tensor:
    """Return one clip of a batch, (1, …), which does not keep it alive."""
    return x[index, None].detach().clone().to(device)


def check_mixed(x: Tensor) -> None:
    """Raise if features are of a dtype that cannot hold weighted means."""
    if not x.is_floating_point():
        raise ValueError(
            'Expected floating-point features, of which weighted means are '
            f'computed, got {x.dtype}.'
        )


def check_matches(
    shape: Sequence[int],
    matching: Tensor,
    accepted: Tensor | None = None,
    anchors: Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Raise if the matches of a clip do not fit together.

    Args:
        shape (Sequence[int]): Expected shape of ``matching``, (B, T-1, N, …).
        matching (Tensor): The matches into frames 1 to T-1.
        accepted (Tensor, optional): Expected as bool of shape (B, T-1, N).
            Defaults to None.
        anchors (Sequence[int], optional): See `Alignment`. Defaults to
            None.
        dtype (torch.dtype, optional): Expected dtype of ``matching``. Defaults
            to None, any.

    Raises:
        ValueError: If they do not.
    """
    check_tensor(matching, 'matching', shape, dtype)
    if accepted is not None:
        check_tensor(accepted, 'accepted', shape[:3], torch.bool)
    check_anchors(anchors, shape[1])


def check_anchors(anchors: Sequence[int] | None, pairs: int) -> None:
    """Raise if one of T-1 anchors is not before its frame."""
    if anchors is not None and (
        len(anchors) != pairs
        or not all(0 <= anchor <= t for t, anchor in enumerate(anchors))
    ):
        raise ValueError(
            f'Expected anchors of the {pairs} frames from 1 on, each from 0 '
            f'to below the index of its frame, got {anchors}.'
        )


def check_route_anchors(anchors: Tensor, shape: torch.Size) -> None:
    """Raise if an anchor of a route is not before its frame, on the CPU."""
    batch, frames, num = shape
    check_tensor(anchors, 'anchors', (batch, frames - 1, num), torch.int64)
    if anchors.is_cuda:  # without the launches
        return
    previous = identity(frames - 1, device=anchors.device)[:, None]
    check(
        ((anchors >= 0) & (anchors <= previous)).all(),
        'Expected anchors from 0 to below the index of their frame.',
    )


def find_segments(accepted: Tensor | None, anchors: Anchors) -> Tensor | None:
    """Count the parts of each route: bool (B, T, N) -> int64 (B, T, N)."""
    if accepted is None:
        return None
    before: Sequence[Any] = (
        anchors.unbind(1) if isinstance(anchors, Tensor) else anchors
    )
    kept = accepted.unbind(1)
    # The frame that a match comes from. A rejected one starts a part, which is
    # numbered by its frame.
    sources = [torch.zeros_like(kept[0], dtype=torch.int64)]
    for t, (source, keep) in enumerate(zip(before, kept[1:]), start=1):
        sources.append(torch.where(keep, source, t))
    segments = torch.stack(sources, 1)
    # Back to the starts, twice as far with every step.
    for _ in range(len(kept).bit_length()):
        segments = segments.gather(1, segments)
    return segments


def take_frames(x: Tensor, anchors: Sequence[int] | None) -> Tensor:
    """Return the frames that matches come from: (B, T, …) -> (B, T-1, …)."""
    if not anchors:
        return x[:, :-1]
    # An index of a list would be copied to a GPU, which synchronises it.
    return torch.stack([x[:, anchor] for anchor in anchors], 1)


def prepend_frame_0(accepted: Tensor) -> Tensor:
    """Prepend frame 0, which needs no match: (B, T-1, N) -> (B, T, N)."""
    batch, _, num = accepted.shape
    return torch.cat([accepted.new_ones(batch, 1, num), accepted], 1)
