# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The device that a user names."""
import torch


def use_device(name: str) -> torch.device:
    """The device of a name such as 'cpu', 'cuda' or 'cuda:1'.

    Raises:
        ValueError: If it names none, or a GPU that torch does not find.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError("expected a device such as 'cpu', 'cuda' or "
                         f"'cuda:1', got {name!r}") from None
    count = torch.cuda.device_count()
    if device.type == 'cuda' and (device.index or 0) >= count:
        raise ValueError(f'device {name!r} is not there; torch finds {count} '
                         "GPUs. Use 'cpu', or a GPU and a torch built for it")
    return device
