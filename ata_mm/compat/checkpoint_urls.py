# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Read checkpoints from URLs with ``weights_only=True``, like local files.

mmengine reads a URL by ``torch.hub.load_state_dict_from_url``, whose default
is ``weights_only=False``, unlike that of ``torch.load``: a downloaded
checkpoint could run arbitrary code.

Upstream: no known report to mmengine; torch documents the default:
https://pytorch.org/docs/stable/hub.html#torch.hub.load_state_dict_from_url
"""

import inspect
from functools import partial

from mmengine.runner import checkpoint


def needed() -> bool:
    """Return whether mmengine unpickles arbitrary objects from URLs."""
    loader = inspect.signature(checkpoint.load_url).parameters
    weights_only = loader.get('weights_only')
    return weights_only is not None and not weights_only.default


def apply() -> None:
    """Make mmengine read URLs with ``weights_only=True``."""
    if needed():
        checkpoint.load_url = partial(checkpoint.load_url, weights_only=True)
