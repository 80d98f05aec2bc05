# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Silence a warning that every import of ``mmaction.models`` gives with
mmcv-lite.

mmcv's transformer layers warn that mmcv-lite has no compiled deformable
attention. Nothing here uses it, and a model that does still fails with an
error of its own.

Upstream: https://github.com/open-mmlab/mmcv/blob/v2.1.0/mmcv/cnn/bricks/transformer.py
"""  # noqa: E501
import warnings
from importlib.util import find_spec
from pathlib import Path

_MESSAGE = 'Fail to import ``MultiScaleDeformableAttention``'


def needed() -> bool:
    """Whether mmcv is the one without compiled operators."""
    folder = Path(find_spec('mmcv').submodule_search_locations[0])
    return not any(folder.glob('_ext.*'))


def apply() -> None:
    """Ignore this one warning."""
    if needed():
        warnings.filterwarnings('ignore', message=_MESSAGE)
