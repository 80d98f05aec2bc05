# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from importlib.util import find_spec


def require_mmcv() -> None:
    """Say what to install if there is no ``mmcv``.

    mmcv and mmcv-lite install the same folder, and pip cannot express "one of
    the two", so that ata_mm, like mmaction2, does not declare either.

    Raises:
        ImportError: If neither mmcv nor mmcv-lite is installed.
    """
    if find_spec('mmcv') is None:
        raise ImportError(
            'ata_mm needs mmcv-lite 2.1.0 or mmcv 2.1.0, but found neither. '
            'Run `pip install mmcv-lite==2.1.0`, or install the full mmcv '
            '2.1.0 if you want its compiled operators. Never install both: '
            'they share one folder.')
