# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Value checks without host-device synchronisation."""

from typing import Optional, Type

import torch
from torch import Tensor

from .types import Grid

NOT_FINITE = (
    'Expected finite similarities, got NaN or infinity. The features to be '
    'matched hold NaN or infinity: check whether training has diverged.'
)


class NotFiniteError(ValueError):
    """Value that is NaN or infinite, as after a divergence of training."""


def is_compiling() -> bool:
    """Return whether torch.compile is tracing."""
    # torch.compiler.is_compiling came with torch 2.3.
    compiler_check = getattr(torch.compiler, 'is_compiling', None)
    return compiler_check is not None and compiler_check()


def check(
    condition: Tensor, message: str, error: Type[ValueError] = ValueError
) -> None:
    """Raise if a condition does not hold.

    Reading a value of a GPU tensor synchronises host and device. On a GPU, and
    while torch.compile is tracing, the condition is therefore asserted on the
    device, and a later call reports the failure as a RuntimeError. The meta
    device has no values to check.

    Args:
        condition (Tensor): One bool.
        message (str): The error message.
        error (type): Type of the error. Defaults to ValueError.

    Raises:
        ValueError: If the condition is False.
    """
    if condition.is_meta:
        return
    # A compiled graph cannot branch on a value either.
    if condition.is_cuda or is_compiling():
        torch._assert_async(condition, message)
    elif not condition:
        raise error(message)


def check_finite(values: Tensor) -> None:
    """Raise if a tensor holds NaN or infinity.

    Args:
        values (Tensor): Similarities, or features, of any shape.

    Raises:
        NotFiniteError: If it does; see :func:`check`.
    """
    check(torch.isfinite(values).all(), NOT_FINITE, NotFiniteError)


def drop_not_finite(values: Tensor) -> Tensor:
    """Replace NaN and infinity by 0 where they cannot be reported.

    That is on a GPU and while torch.compile is tracing: an assertion on the
    device would fail at a later, unrelated call, and the process could not use
    the GPU any more. Elsewhere the values are returned as they are.

    Args:
        values (Tensor): Features to be matched.

    Returns:
        Tensor: Features of the same shape.
    """
    if values.is_cuda or is_compiling():
        return values.nan_to_num(0.0, 0.0, 0.0)
    return values


def check_patches(x: Tensor) -> None:
    """Raise if a tensor is not of shape (B, T, N, C).

    Args:
        x (Tensor): Patch features.

    Raises:
        ValueError: If it has another number of dimensions, or one of size 0.
    """
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(
            'Expected patch features of shape (B, T, N, C) '
            f'without empty dimensions, got {tuple(x.shape)}.'
        )


def check_square(similarity: Tensor) -> int:
    """Return the number of patches N of similarities (..., N, N).

    Args:
        similarity (Tensor): (..., N, N).

    Raises:
        ValueError: If the last two dimensions differ.
    """
    shape = tuple(similarity.shape)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(
            f'Expected similarities of shape (..., N, N), got {shape}.'
        )
    return shape[-1]


def check_grid(
    grid: Optional[Grid], num_patches: int, needed_by: str = ''
) -> Grid:
    """Return a grid of N patches.

    Args:
        grid (tuple[int, int] | None): Height and width in patches.
        num_patches (int): Number of patches N.
        needed_by (str): Name of the caller, for the error message. Defaults
            to ''.

    Returns:
        tuple[int, int]: The grid, which is not None.

    Raises:
        ValueError: If the grid is missing or does not hold N patches.
    """
    if grid is None or grid[0] * grid[1] != num_patches:
        reason = f', which {needed_by} needs' if needed_by else ''
        raise ValueError(
            f'Expected grid=(H, W) with H x W = N = {num_patches} patches'
            f'{reason}, got grid={grid}.'
        )
    return grid


def check_radius(radius: int) -> int:
    """Return the radius of a window in patches.

    Args:
        radius (int): Patches from the centre to the border of the window.

    Raises:
        ValueError: If it is not an integer of at least 1.
    """
    if not isinstance(radius, int) or radius < 1:
        raise ValueError(
            'Expected radius to be an integer of at least 1, in '
            f'patches, got {radius!r}.'
        )
    return radius
