# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Checks of tensors and options.

Shapes, dtypes, grids and numbers are checked on every device. Values of a
tensor, by :func:`check` and :func:`check_finite`, are not on a GPU: reading
one would synchronise host and device, and a failed assertion on the device
would end the process at an unrelated later call. NaN and infinity go on into
the loss, which shows them.
"""

from collections.abc import Sequence
from numbers import Integral, Real

import torch
from torch import Tensor
from torch.compiler import is_compiling

from .types import Grid

NOT_FINITE = (
    'Expected finite similarities, got NaN or infinity. The features to be '
    'matched hold NaN or infinity: check whether training has diverged.'
)


class NotFiniteError(ValueError):
    """Value that is NaN or infinite, as after a divergence of training."""


def check(
    condition: Tensor, message: str, error: type[ValueError] = ValueError
) -> None:
    """Raise if a condition does not hold, on the CPU.

    While torch.compile is tracing, the compiled graph raises a RuntimeError.

    Args:
        condition (Tensor): One bool.
        message (str): The error message.
        error (type): Type of the error. Defaults to ValueError.

    Raises:
        ValueError: If the condition is False.
    """
    if condition.device.type != 'cpu':
        return
    if is_compiling():  # a compiled graph cannot branch on a value
        torch._assert_async(condition, message)
    elif not condition:
        raise error(message)


def check_finite(values: Tensor) -> None:
    """Raise if a tensor holds NaN or infinity, on the CPU.

    Args:
        values (Tensor): Similarities, or features, of any shape.

    Raises:
        NotFiniteError: If it does; see :func:`check`.
    """
    if values.is_cuda:  # without the launches
        return
    check(torch.isfinite(values).all(), NOT_FINITE, NotFiniteError)


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


def check_tensor(
    x: Tensor,
    name: str,
    shape: Sequence[int],
    dtype: torch.dtype | None = None,
) -> None:
    """Raise if a tensor has another shape or dtype.

    Args:
        x (Tensor): The tensor.
        name (str): Its name, printed in the error message.
        shape (Sequence[int]): Expected shape.
        dtype (torch.dtype, optional): Expected dtype. Defaults to None, any.

    Raises:
        ValueError: If it has another one.
    """
    if tuple(x.shape) != tuple(shape) or dtype not in (None, x.dtype):
        kind = '' if dtype is None else f' of {dtype}'
        raise ValueError(
            f'Expected {name} of shape {tuple(shape)}{kind}, got '
            f'{tuple(x.shape)} of {x.dtype}.'
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
    grid: Grid | None, num_patches: int, needed_by: object = ''
) -> Grid:
    """Return a grid of N patches.

    Args:
        grid (tuple[int, int] | None): Height and width in patches.
        num_patches (int): Number of patches N.
        needed_by (object): Printed in the error message, the caller or its
            name. Defaults to ''.

    Returns:
        tuple[int, int]: The grid, which is not None.

    Raises:
        ValueError: If the grid is missing, is not a pair of integers of at
            least 1, or does not hold N patches.
    """
    if (
        not isinstance(grid, (tuple, list))
        or len(grid) != 2
        # Sides are symbolic while a graph is exported, and tensors while
        # torch.jit traces one.
        or not all(
            isinstance(n, (Integral, torch.SymInt, Tensor)) and n >= 1
            for n in grid
        )
        or grid[0] * grid[1] != num_patches
    ):
        reason = f', which {needed_by} needs' if needed_by else ''
        raise ValueError(
            'Expected grid=(H, W), integers of at least 1 with H x W = N = '
            f'{num_patches} patches{reason}, got grid={grid!r}.'
        )
    return grid


def is_count(value: object, least: int) -> bool:
    """Return whether an option is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        return False
    return int(value) >= least


def is_number(value: object) -> bool:
    """Return whether an option is a number, of any type but bool."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_temperature(temperature: float) -> None:
    """Raise if a temperature is not a number above 0.

    Args:
        temperature (float): In units of cosine similarity.

    Raises:
        ValueError: If it is not.
    """
    if not is_number(temperature) or not temperature > 0:
        raise ValueError(
            'Expected temperature to be a number above 0, got '
            f'{temperature!r}.'
        )


def check_counts(least: int = 1, **counts: object) -> None:
    """Raise if an option is not a number of things.

    Args:
        least (int): The smallest number. Defaults to 1.
        **counts (object): Values by the names of their options.

    Raises:
        ValueError: If one is not an integer of at least ``least``.
    """
    for name, value in counts.items():
        if not is_count(value, least):
            raise ValueError(
                f'Expected {name} to be an integer of at least {least}, got '
                f'{value!r}.'
            )
