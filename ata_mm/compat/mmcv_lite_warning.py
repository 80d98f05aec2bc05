# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Silence the import warning of ``mmaction.models`` with mmcv-lite.

mmcv's transformer layers warn that mmcv-lite has no compiled deformable
attention. ata_mm does not use it, and a model that does still raises an error
of its own.

Upstream: https://github.com/open-mmlab/mmcv/blob/v2.1.0/mmcv/cnn/bricks/transformer.py
"""

import warnings
from importlib.util import find_spec
from pathlib import Path

_MESSAGE = 'Fail to import ``MultiScaleDeformableAttention``'


def needed() -> bool:
    """Return whether the installed mmcv lacks compiled operators."""
    spec = find_spec('mmcv')
    folders = (spec.submodule_search_locations if spec else None) or ()
    return not any(any(Path(folder).glob('_ext.*')) for folder in folders)


def apply() -> None:
    """Filter this warning."""
    if needed():
        warnings.filterwarnings('ignore', message=_MESSAGE)
