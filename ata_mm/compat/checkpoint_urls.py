# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Read checkpoints from the net as safely as those from a disk.

mmengine reads a URL by ``torch.hub.load_state_dict_from_url``, whose default
is ``weights_only=False`` even where ``torch.load`` has another one: a
checkpoint from the net could run any code.

Upstream: no report to mmengine is known; torch documents the default:
https://pytorch.org/docs/stable/hub.html#torch.hub.load_state_dict_from_url
"""
import inspect
from functools import partial

from mmengine.runner import checkpoint


def needed() -> bool:
    """Whether mmengine would unpickle anything that a URL holds."""
    loader = inspect.signature(checkpoint.load_url).parameters
    weights_only = loader.get('weights_only')
    return weights_only is not None and not weights_only.default


def apply() -> None:
    """Let mmengine read URLs with ``weights_only=True``."""
    if needed():
        checkpoint.load_url = partial(checkpoint.load_url, weights_only=True)
