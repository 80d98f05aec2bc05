# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Norms of features whose squares exceed fp32."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .validation import is_compiling

# Norms whose squares, and those of their components, are far from the limits
# of fp32.
_SAFE_NORMS = (1e-12, 1e15)


def rescale(x: Tensor) -> Tensor:
    """Scale features by powers of two whose norms are near the limits of fp32.

    Squares of norms below 1e-19 or above 1e19 are 0 or infinity in fp32. The
    cosine similarity does not depend on the norm, and a power of two does not
    round.

    Args:
        x (Tensor): fp32 features (..., C).

    Returns:
        Tensor: (..., C); the input itself if all norms are safe and it is on
        the CPU, where looking costs less than scaling.
    """
    if x.device.type == 'cpu' and not is_compiling():
        norm = torch.linalg.vector_norm(x.detach(), dim=-1)
        least, most = _SAFE_NORMS
        if ((norm >= least) & (norm <= most)).all():
            return x
    with torch.no_grad():
        largest = torch.linalg.vector_norm(x, float('inf'), -1, keepdim=True)
        # Also the inverse of a denormal number has to be finite.
        exponent = torch.frexp(largest).exponent.clamp_min(-125)
        scale = torch.ldexp(torch.ones_like(largest), -exponent)
    return x * scale


def normalize(x: Tensor) -> Tensor:
    """Divide features by their norms, of any size: fp32 of shape (..., C).

    Args:
        x (Tensor): Features (..., C); those of zeros remain zeros.
    """
    return F.normalize(rescale(x.float()), dim=-1)
