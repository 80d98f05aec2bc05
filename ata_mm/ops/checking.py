# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Checks of values, which are not to hold up a GPU."""
import torch
from torch import Tensor


def is_compiling() -> bool:
    """Whether torch.compile is looking on."""
    is_compiling = getattr(torch.compiler, 'is_compiling', None)
    return is_compiling is not None and is_compiling()  # torch >= 2.3


def check(condition: Tensor, message: str) -> None:
    """Refuse values for which a condition does not hold.

    Args:
        condition (Tensor): One bool.
        message (str): What is wrong if it is False.

    Raises:
        ValueError: If it is False. To find out, the host would have to wait
            for a GPU; there, and in a compiled graph, it is asserted on the
            device instead, which a later call reports as a RuntimeError.
    """
    if condition.is_cuda or is_compiling():
        torch._assert_async(condition, message)
    elif not condition:
        raise ValueError(message)
