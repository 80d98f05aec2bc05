# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Mutual information of neighbouring frames (Sec. 3.2, Table 4).

The paper defines the entropies (Eqs. 8-14), but neither the probability
p(x_j | x_i) nor how Table 4 was computed. The estimator here is ours: the
softmax over j of the cosine similarity at a temperature. Its values depend on
that temperature, so they can be compared with each other at the same one, and
not with the paper's.
"""
import math
from typing import Callable, Iterator

import torch
from torch import Tensor

from .similarity import neighbour_similarity

_MAX_SIMILARITIES = 2**24  # at a time: 64 MB, and three copies


def mutual_information(x: Tensor, temperature: float = 0.1) -> Tensor:
    r"""Mutual information of neighbouring frames over all pairs of patches.

    .. math:: MI = H(X^t) - H(X^t | X^{t-1}) = \log N +
        \frac{1}{N} \sum_{i,j} p(x_j^t | x_i^{t-1}) \log p(x_j^t | x_i^{t-1})

    .. math:: p(x_j^t | x_i^{t-1}) =
        softmax_j(\cos(x_i^{t-1}, x_j^t) / temperature)

    with p(x_i) = 1/N (Eqs. 8-12). It is 0 where no patch tells another one
    from the rest, and log N where each singles out one. Unrelated features
    have cosines of variance 1/C, and so about 1 / (2 C temperature^2).

    The sums run over all patches of both frames, so their order does not
    matter: aligning frames leaves this number as it is, whatever Eq. 16 says.
    It tells models apart by the features that they make. For what alignment
    does to given features, see :func:`positionwise_mutual_information`.

    H(X^t) is that of uniform patches (Eq. 11), not of the marginal of
    p(x_i) p(x_j | x_i), so this is an upper bound of the mutual information of
    that joint distribution, and equal to it where the marginal is uniform.

    Args:
        x (Tensor): Patch features of shape (B, T, N, C).
        temperature (float): Divides the similarities. Defaults to 0.1.

    Returns:
        Tensor: In nats, of each clip, the mean over its T - 1 pairs of
        frames; fp32 of shape (B,), no gradient.

    Raises:
        ValueError: If x is not (B, T, N, C) with two frames or more, or the
            temperature is not above 0.
    """
    return _over_pairs(x, temperature, _negative_entropy)


def positionwise_mutual_information(x: Tensor,
                                    temperature: float = 0.1) -> Tensor:
    r"""What a patch tells of the patch at its own place in the next frame.

    .. math:: MI = \log N +
        \frac{1}{N} \sum_i \log p(x_i^t | x_i^{t-1})

    with the p of :func:`mutual_information`: the mean pointwise mutual
    information of the patches that temporal attention brings together. It has
    the form of InfoNCE (https://arxiv.org/abs/1807.03748), the other patches
    of the frame being the negatives. At most log N, 0 where no patch tells
    anything, and below 0 where patches point away from their own places.

    Here alignment matters (Eq. 16): the normalisation of p does not depend on
    the order of the patches, so the sum of the similarities is all that
    changes, and no order has more than the exact matching of Eq. 6. Call it
    with ``x``, and with ``align_frames(x).align(x)``.

    Args:
        x (Tensor): Patch features of shape (B, T, N, C), in the frames' own
            order or along routes.
        temperature (float): Divides the similarities. Defaults to 0.1.

    Returns:
        Tensor: In nats, of each clip, the mean over its T - 1 pairs of
        frames; fp32 of shape (B,), no gradient.

    Raises:
        ValueError: See :func:`mutual_information`.
    """
    return _over_pairs(x, temperature, _own_place)


def _negative_entropy(log_p: Tensor) -> Tensor:
    return (log_p.exp() * log_p).sum(-1).mean(-1)


def _own_place(log_p: Tensor) -> Tensor:
    return log_p.diagonal(dim1=-2, dim2=-1).mean(-1)


def _over_pairs(x: Tensor, temperature: float,
                term: Callable[[Tensor], Tensor]) -> Tensor:
    """log N and a term of log p, averaged over the pairs of frames.

    Args:
        x (Tensor): (B, T, N, C).
        temperature (float): Divides the similarities.
        term (Callable): Maps log p(x_j | x_i), (P, N, N) of P pairs, to (P,).

    Returns:
        Tensor: (B,).
    """
    _check(x, temperature)
    means = [
        torch.cat([term(part) for part in _log_p(clip, temperature)]).mean()
        for clip in x.detach()
    ]
    return math.log(x.shape[2]) + torch.stack(means)


def _log_p(clip: Tensor, temperature: float) -> Iterator[Tensor]:
    """log p(x_j | x_i) of a clip (T, N, C), some pairs of frames at a time so
    that large maps fit into memory: (P, N, N)."""
    frames, num, _ = clip.shape
    step = max(1, _MAX_SIMILARITIES // num**2)
    for start in range(0, frames - 1, step):
        similarity = neighbour_similarity(clip[None, start:start + step + 1])
        yield (similarity[0] / temperature).log_softmax(-1)


def _check(x: Tensor, temperature: float) -> None:
    if x.ndim != 4 or 0 in x.shape or x.shape[1] < 2:
        raise ValueError(
            'Expected patch features of shape (B, T, N, C), none of them 0, '
            f'of two frames or more, got {tuple(x.shape)}.')
    if not temperature > 0:
        raise ValueError(f'Expected a temperature above 0, got {temperature}.')
