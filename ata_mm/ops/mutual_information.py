# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Mutual information of neighbouring frames (Sec. 3.2, Table 4).

The paper defines the entropies (Eqs. 8-14), but neither the probability
p(x_j | x_i) nor how Table 4 was computed. The estimator here is ours: the
softmax over j of the cosine similarity at a temperature. Its values depend on
that temperature: they can be compared with each other at the same one, but not
with the paper's.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .matching import neighbour_similarity
from .validation import check_patches

# Similarities that exist at a time: 64 MB of fp32, and three copies, p, log p
# and their product.
_MAX_SIMILARITIES = 2**24


def mutual_information(x: Tensor, temperature: float = 0.1) -> Tensor:
    r"""Compute the mutual information of neighbouring frames, all patch pairs.

    .. math:: MI = H(X^t) - H(X^t | X^{t-1}) = \log N +
        \frac{1}{N} \sum_{i,j} p(x_j^t | x_i^{t-1}) \log p(x_j^t | x_i^{t-1})

    .. math:: p(x_j^t | x_i^{t-1}) =
        softmax_j(\cos(x_i^{t-1}, x_j^t) / temperature)

    with p(x_i) = 1/N (Eqs. 8-12). It is 0 if the similarities of a patch are
    all equal, and log N if each patch is similar to a single one. Unrelated
    features have cosines of variance 1/C, hence about
    1 / (2 C temperature^2).

    The sums run over all patches of both frames, in any order: alignment does
    not change this quantity, contrary to Eq. 16. It compares models by their
    features. For the effect of alignment on given features, see
    :func:`positionwise_mutual_information`.

    H(X^t) is the entropy of uniform patches (Eq. 11), not of the marginal of
    p(x_i) p(x_j | x_i). This is therefore an upper bound of the mutual
    information of that joint distribution, with equality if the marginal is
    uniform.

    Args:
        x (Tensor): Patch features of shape (B, T, N, C).
        temperature (float): Divides the similarities. Defaults to 0.1.

    Returns:
        Tensor: Mean over the T-1 frame pairs of each clip, in nats; fp32 of
        shape (B,), no gradient.

    Raises:
        ValueError: If x is not (B, T, N, C) with at least two frames, or the
            temperature is not above 0.
    """
    return _over_pairs(x, temperature, _negative_entropy)


def positionwise_mutual_information(
    x: Tensor, temperature: float = 0.1
) -> Tensor:
    r"""Compute the pointwise mutual information of co-located patches.

    .. math:: MI = \log N +
        \frac{1}{N} \sum_i \log p(x_i^t | x_i^{t-1})

    of neighbouring frames, with the p of :func:`mutual_information`, averaged
    over the patches that temporal attention combines. It has the form of
    InfoNCE (https://arxiv.org/abs/1807.03748) with the other patches of the
    frame as negatives. At most log N; 0 for uninformative patches; below 0 if
    patches are less similar to their own position than to others.

    Alignment changes it (Eq. 16): the normalisation of p does not depend on
    the order of the patches, only the sum of the similarities does, and the
    exact matching of Eq. 6 maximises it. Compare ``x``
    with ``align_frames(x).align(x)``.

    Args:
        x (Tensor): Patch features of shape (B, T, N, C), in the frames' own
            order or along routes.
        temperature (float): Divides the similarities. Defaults to 0.1.

    Returns:
        Tensor: Mean over the T-1 frame pairs of each clip, in nats; fp32 of
        shape (B,), no gradient.

    Raises:
        ValueError: See :func:`mutual_information`.
    """
    return _over_pairs(x, temperature, _colocated)


def _negative_entropy(log_p: Tensor) -> Tensor:
    """Compute sum_ij p log p / N, which is -H(X^t | X^{t-1}) of Eq. 12."""
    return (log_p.exp() * log_p).sum(-1).mean(-1)


def _colocated(log_p: Tensor) -> Tensor:
    """Compute sum_i log p(x_i | x_i) / N."""
    return log_p.diagonal(dim1=-2, dim2=-1).mean(-1)


def _over_pairs(
    x: Tensor, temperature: float, term: Callable[[Tensor], Tensor]
) -> Tensor:
    """Add log N to a term of log p, averaged over the frame pairs.

    Args:
        x (Tensor): (B, T, N, C).
        temperature (float): Divides the similarities.
        term (Callable): Maps log p(x_j | x_i), (P, N, N) of P frame pairs,
            to (P,).

    Returns:
        Tensor: (B,).
    """
    _check(x, temperature)
    # Clips are reduced one by one, to keep the memory of a batch constant.
    means = [
        torch.cat([term(part) for part in _log_p(clip, temperature)]).mean()
        for clip in x.detach()
    ]
    # H(X^t) = log N of uniform patches (Eq. 11).
    return math.log(x.shape[2]) + torch.stack(means)


def _log_p(clip: Tensor, temperature: float) -> Iterator[Tensor]:
    """Yield log p(x_j | x_i) of a few frame pairs of a clip at a time.

    Args:
        clip (Tensor): (T, N, C).
        temperature (float): Divides the similarities.

    Yields:
        Tensor: (P, N, N), normalised over j.
    """
    frames, num, _ = clip.shape
    step = max(1, _MAX_SIMILARITIES // num**2)
    # Parts overlap by a frame: P pairs have P + 1 frames.
    for start in range(0, frames - 1, step):
        similarity = neighbour_similarity(clip[None, start : start + step + 1])
        yield (similarity[0] / temperature).log_softmax(-1)


def _check(x: Tensor, temperature: float) -> None:
    check_patches(x)
    if x.shape[1] < 2:
        raise ValueError(
            'Expected patch features (B, T, N, C) of two frames or more, got '
            f'{tuple(x.shape)}.'
        )
    if not temperature > 0:  # NaN as well
        raise ValueError(f'Expected a temperature above 0, got {temperature}.')
