# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Norms of features whose squares exceed fp32."""

import torch
from torch import Tensor

from .tracing import is_tracing

# Norms whose squares, and those of their components, are far from the limits
# of fp32.
_SAFE_NORMS = (1e-12, 1e15)


def rescale(x: Tensor) -> tuple[Tensor, Tensor]:
    """Scale features by powers of two whose norms are near the limits of fp32.

    Squares of norms below 1e-19 or above 1e19 are 0 or infinity in fp32. The
    cosine similarity does not depend on the norm, and a power of two does not
    round.

    Args:
        x (Tensor): fp32 features (..., C).

    Returns:
        tuple[Tensor, Tensor]: (..., C), the input itself if all norms are safe
        and it is on the CPU, where looking costs less than scaling; and its
        norms (...), infinity for zeros: their cosine similarities are 0, and
        so are the gradients.
    """
    with torch.autocast(x.device.type, enabled=False):
        norm = torch.linalg.vector_norm(x, dim=-1)
        if x.device.type != 'cpu' or is_tracing() or not _are_safe(norm):
            x = x * _power(x.detach())
            norm = torch.linalg.vector_norm(x, dim=-1)
        return x, norm.masked_fill(norm == 0, float('inf'))


def _are_safe(norm: Tensor) -> bool:
    if not norm.numel():  # no frame pair
        return True
    least, most = norm.detach().aminmax()
    return bool(least >= _SAFE_NORMS[0] and most <= _SAFE_NORMS[1])


def _power(x: Tensor) -> Tensor:
    """Return the powers of two that scale the largest magnitudes to 0.5..1."""
    largest = torch.linalg.vector_norm(x, float('inf'), -1, keepdim=True)
    if is_tracing():  # ONNX has no frexp
        return torch.exp2(-largest.log2().ceil().clamp(-125, 127))
    # Also the inverse of a denormal number has to be finite.
    exponent = torch.frexp(largest).exponent.clamp_min(-125)
    return torch.ldexp(torch.ones_like(largest), -exponent)


def normalize(x: Tensor) -> Tensor:
    """Divide features by their norms, of any size: fp32 of shape (..., C).

    Args:
        x (Tensor): Features (..., C); those of zeros remain zeros.
    """
    x, norm = rescale(x.float())
    return x / norm[..., None]
