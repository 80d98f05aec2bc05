# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Check that mmcv is installed."""

from importlib.util import find_spec


def require_mmcv() -> None:
    """Raise an error with instructions if mmcv is not installed.

    mmcv and mmcv-lite install the same folder, and pip cannot express "one of
    the two": ata_mm, like mmaction2, declares neither.

    Raises:
        ImportError: If neither mmcv nor mmcv-lite is installed.
    """
    if find_spec('mmcv') is None:
        raise ImportError(
            'ata_mm needs mmcv-lite 2.1.0 or mmcv 2.1.0, but found neither. '
            'Run `pip install mmcv-lite==2.1.0`, or install the full mmcv '
            '2.1.0 for its compiled operators. Do not install both: they '
            'share one folder.'
        )
