# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Alignment of a clip without a model, by the gradients of its pixels."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ata_mm.ops import align_frames
from ata_mm.ops.types import Grid
from ata_mm.video import Clip, patchify

from .observation import Block

_SIDE = 16  # of a patch, in pixels
_CELL = 8  # of a histogram
_BINS = 8  # directions of gradients


def match_pixels(
    clip: Clip,
    grid: Grid,
    reference: str | int = 8,
    refine: int = 0,
    min_similarity: float | None = 0.4,
    support_radius: int = 2,
) -> Block:
    """Align a clip by histograms of gradients.

    The defaults have been chosen by the optical flow of real videos.

    Args:
        clip (Clip): T frames.
        grid (tuple[int, int]): Rows and columns of the patches, N in all.
        reference (str | int): The frame that each frame is matched to; see
            :func:`~ata_mm.ops.align_frames`, as for the other options.
            Defaults to 8.
        refine (int): Number of refinements. Defaults to 0.
        min_similarity (float, optional): Limit below which matches are
            rejected. Defaults to 0.4.
        support_radius (int): Patches from the centre to the border of the
            support window. Defaults to 2.

    Returns:
        Block: With alignment and features (1, T, N, 32), without a response.
    """
    x = gradient_histograms(clip.frames, grid)
    options: dict[str, Any] = dict(
        reference=reference,
        refine=refine,
        min_similarity=min_similarity,
        support_radius=support_radius,
    )
    alignment = align_frames(x, grid=grid, **options)
    return Block(
        0, 'pixels', 'gradient histograms', grid, None, alignment, x, options
    )


def gradient_histograms(frames: Sequence[np.ndarray], grid: Grid) -> Tensor:
    """Describe patches by the directions of their gradients.

    Each quarter of a patch of 16 x 16 pixels has a histogram of the gradient
    over 8 directions, weighted by its length and smoothed in space. Patches
    are normalised, which makes contrast irrelevant except in patches that have
    almost none, and the mean over the clip is subtracted: what all patches
    have in common does not count as similar. Like HOG
    (https://doi.org/10.1109/CVPR.2005.177), but with the sign of gradients.
    Positions and colours do not contribute.

    Args:
        frames (Sequence[np.ndarray]): T frames (H, W, 3), uint8, RGB.
        grid (tuple[int, int]): Rows and columns of the patches, N in all.

    Returns:
        Tensor: fp32 of shape (1, T, N, 32).
    """
    rows, columns = grid
    size = columns * _SIDE, rows * _SIDE
    histograms = [
        _histograms(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
        for frame in frames
    ]
    x = patchify(torch.from_numpy(np.stack(histograms)), _SIDE // _CELL)[None]
    length = x.norm(dim=-1, keepdim=True)
    # A tenth of the mean contrast: less is noise rather than structure.
    x = (x / (length + 0.1 * length.mean() + 1e-6)).sqrt()
    return x - x.mean((1, 2), keepdim=True)


def _histograms(frame: np.ndarray) -> np.ndarray:
    """Return the histogram of each cell, (rows, columns, bins), fp32."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    dx, dy = (
        cv2.Sobel(grey, cv2.CV_32F, *order)[..., None]
        for order in ((1, 0), (0, 1))
    )
    angles = np.arange(_BINS, dtype=np.float32) * (2 * np.pi / _BINS)
    length = np.hypot(dx, dy) + 1e-6
    cosine = (dx * np.cos(angles) + dy * np.sin(angles)) / length
    # Each gradient contributes to the two or three nearest directions.
    weights = length * np.maximum(cosine, 0) ** 4
    smooth = cv2.GaussianBlur(weights, (0, 0), _CELL / 2)
    return smooth[_CELL // 2 :: _CELL, _CELL // 2 :: _CELL]
