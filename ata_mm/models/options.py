# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Checks of the options that several models have in common."""

from collections.abc import Sequence

import numpy as np

from ata_mm.ops.validation import is_count, is_number

from .layouts import ImageSize


def check_drop_path_rate(rate: float) -> float:
    """Return a rate of stochastic depth.

    Args:
        rate (float): Share of the samples whose branch is dropped. At 1
            nothing would remain, and NaN would result of its rescaling.

    Raises:
        ValueError: If it is not from 0 to below 1.
    """
    if not is_number(rate) or not 0 <= rate < 1:
        raise ValueError(
            f'Expected drop_path_rate from 0 to below 1, got {rate!r}.'
        )
    return rate


def drop_path_rates(last: float, num_blocks: int) -> list[float]:
    """Return rates of stochastic depth that grow linearly from block to block.

    Args:
        last (float): That of the last block; the first one has 0.
        num_blocks (int): Number of blocks.

    Raises:
        ValueError: See :func:`check_drop_path_rate`.
    """
    return np.linspace(0, check_drop_path_rate(last), num_blocks).tolist()


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
