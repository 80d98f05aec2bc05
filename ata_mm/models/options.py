# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Checks of the options that several models have in common."""

from collections.abc import Sequence
from numbers import Real

from ata_mm.ops.validation import is_count

from .layouts import ImageSize


def check_counts(**counts: object) -> None:
    """Raise if an option is not a number of things.

    Args:
        **counts (object): Values by the names of their options.

    Raises:
        ValueError: If one is not an integer of at least 1.
    """
    for name, value in counts.items():
        if not is_count(value, 1):
            raise ValueError(
                f'Expected {name} to be an integer of at least 1, got '
                f'{value!r}.'
            )


def check_drop_path_rate(rate: float) -> float:
    """Return a rate of stochastic depth.

    Args:
        rate (float): Share of the samples whose branch is dropped. At 1
            nothing would remain, and NaN would result of its rescaling.

    Raises:
        ValueError: If it is not from 0 to below 1.
    """
    if not isinstance(rate, Real) or not 0 <= rate < 1:
        raise ValueError(
            f'Expected drop_path_rate from 0 to below 1, got {rate!r}.'
        )
    return rate


def read_img_size(img_size: int | Sequence[int]) -> ImageSize:
    """Return height and width of images in pixels.

    Args:
        img_size (int | Sequence[int]): Both, or one for both.

    Raises:
        ValueError: If it is neither an integer of at least 1 nor two of them.
    """
    size = (img_size, img_size) if isinstance(img_size, int) else img_size
    if (
        not isinstance(size, (list, tuple))
        or len(size) != 2
        or not all(is_count(side, 1) for side in size)
    ):
        raise ValueError(
            'Expected img_size to be an integer of at least 1 or two, height '
            f'and width, got {img_size!r}.'
        )
    return size[0], size[1]
