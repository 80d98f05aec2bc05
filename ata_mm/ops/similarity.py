# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What the matching compares: cosine similarities of patches (Eq. 17)."""
import torch
from torch import Tensor


@torch.no_grad()
def neighbour_similarity(x: Tensor) -> Tensor:
    r"""Cosine similarities of the patches of neighbouring frames.

    .. math:: S[t-1, i, j] = \frac{x_{t-1,i} \cdot x_{t,j}}
                                  {\|x_{t-1,i}\| \|x_{t,j}\|}

    Computed in fp32 whatever the input or autocast, because a matching
    compares sums of N nearly equal numbers, and outside autograd (Alg. 1).

    Args:
        x (Tensor): Patch features of shape (B, T, N, C).

    Returns:
        Tensor: fp32 similarities of shape (B, T-1, N, N).
    """
    batch, frames, num, _ = x.shape
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        scale = 1 / torch.linalg.vector_norm(x, dim=-1).clamp_min(1e-12)
        similarity = x.new_empty(batch, frames - 1, num, num)
        # One product a clip, and the lengths divided out of the result: no
        # copy of the features is made, which costs as much as the product.
        for clip, out in zip(x, similarity):
            torch.bmm(clip[:-1], clip[1:].transpose(1, 2), out=out)
        similarity *= scale[:, :-1, :, None]
        similarity *= scale[:, 1:, None, :]
    return similarity
