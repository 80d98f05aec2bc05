# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What the matching compares: cosine similarities of patches (Eq. 17)."""
import torch
import torch.nn.functional as F
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
    with torch.autocast(x.device.type, enabled=False):
        x = F.normalize(x.float(), dim=-1)
        return x[:, :-1] @ x[:, 1:].transpose(-1, -2)
