# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Match the pixels of frames, for routes without a model."""

import cv2
import numpy as np
import torch

from ata_mm.introspection.observation import Block
from ata_mm.models.embeddings import sincos_embedding
from ata_mm.ops import align_frames
from ata_mm.ops.types import Grid
from ata_mm.video import Clip, patchify

_SIDE = 16  # of a compared patch, in pixels


def match_pixels(clip: Clip, grid: Grid) -> Block:
    """Match the patches of all neighbouring frames by their pixels.

    The features of a patch are the colours of 16 x 16 pixels and, at half
    their norm, a sinusoidal embedding of its position, as the tokens of a ViT
    contain both. Without the embedding, flat regions would match anywhere.

    Args:
        clip (Clip): T frames.
        grid (tuple[int, int]): Rows and columns of the patches, N in all.

    Returns:
        Block: With alignment and features (1, T, N, 832), without a response.
    """
    rows, columns = grid
    size = columns * _SIDE, rows * _SIDE
    frames = np.stack(
        [
            cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            for frame in clip.frames
        ]
    )
    x = patchify(torch.from_numpy(frames).float() - 127.5, _SIDE)[None]
    position = sincos_embedding(grid, 64).view(1, 1, -1, 64)
    position = position / position.norm(dim=-1, keepdim=True)
    position = position * x.norm(dim=-1).mean() / 2
    x = torch.cat([x, position.expand(1, len(frames), -1, -1)], dim=-1)
    alignment = align_frames(x, grid=grid)
    return Block(0, 'pixels', 'pixels', grid, None, alignment, x)
