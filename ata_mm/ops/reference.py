# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Literal transcription of Algorithms 1 and 2, to test the fast path against.

Two errors of the printed pseudo-code are corrected: the assignment maximises
the similarity, and the first de-alignment matrix is that of frame 1.
"""

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def align_literal(x: Tensor) -> tuple[Tensor, Tensor]:
    """Align each frame to the aligned frame before it (Algorithm 1).

    Cosine similarities in fp32, without gradient; the features keep theirs.

    Args:
        x (Tensor): One clip, (T, H, W, C).

    Returns:
        tuple[Tensor, Tensor]: The aligned clip (T, H, W, C), and the one-hot
        de-alignment matrices of frames 1 to T - 1, int64 of shape
        (T - 1, HW, HW).
    """
    frames, height, width, _ = x.shape
    x = x.flatten(1, 2).clone()  # (T, HW, C)
    dealignment = []
    for t in range(1, frames):
        # Frame t - 1 is aligned already: each solve waits for the last one.
        # ata_mm.ops.align_frames matches all pairs in their original order.
        prev = F.normalize(x[t - 1].float(), dim=-1).detach()
        curr = F.normalize(x[t].float(), dim=-1).detach()
        similarity = prev @ curr.t()  # (HW, HW)
        # The print omits maximize=True, which would match opposites.
        columns = linear_sum_assignment(similarity.cpu(), maximize=True)[1]
        match = torch.from_numpy(columns).to(x.device)
        alignment = F.one_hot(match, height * width)  # A of Eq. 18
        dealignment.append(alignment.t())  # D = A^T, Eq. 7
        x[t] = x[t, alignment.argmax(-1)]
    return x.unflatten(1, (height, width)), torch.stack(dealignment)


def dealign_literal(x: Tensor, dealignment: Tensor) -> Tensor:
    """Put the patches of every frame back (Algorithm 2).

    Args:
        x (Tensor): The aligned clip, (T, H, W, C).
        dealignment (Tensor): De-alignment matrices of `align_literal`,
            (T - 1, HW, HW).

    Returns:
        Tensor: The clip in its original order, (T, H, W, C).
    """
    height, width = x.shape[1:3]
    x = x.flatten(1, 2).clone()
    # The print reads dealignment[t], off by one: frame 0 has no matrix.
    for t, matrix in enumerate(dealignment, start=1):
        x[t] = x[t, matrix.argmax(-1)]
    return x.unflatten(1, (height, width))
