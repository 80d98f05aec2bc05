# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Make ``_base_ = 'ata_mm::…'`` work in a config.

mmengine knows the packages that may be named there from a fixed table, without
ata_mm. An entry in that table would not do: mmengine would then look for every
component of the inherited config in registries of the scope ``ata_mm``, but
ata_mm registers its components in mmaction's. Nor does mmengine accept a name
without a folder, or find the configs of an editable install. So names that
begin with ``ata_mm::`` are resolved here, and their components get mmaction's
scope; all other names are left to mmengine.

Upstream: https://github.com/open-mmlab/mmengine/issues/1410
"""
from pathlib import Path
from typing import Optional, Tuple

from mmengine.config import Config
from mmengine.utils import check_file_exist

_PREFIX = 'ata_mm::'
_CONFIGS = Path(__file__).resolve().parents[1] / '.mim' / 'configs'
_mmengine_get_cfg_path = Config._get_cfg_path


def _get_cfg_path(cfg_path: str, filename: str) -> Tuple[str, Optional[str]]:
    """Find the config that ``_base_`` names, and the scope of its parts.

    Raises:
        FileNotFoundError: If ata_mm has no such config.
    """
    if not cfg_path.startswith(_PREFIX):
        return _mmengine_get_cfg_path(cfg_path, filename)
    path = _CONFIGS / cfg_path[len(_PREFIX):]
    check_file_exist(
        path, f"expected the name of a file in {_CONFIGS} after 'ata_mm::', "
        f"but '{filename}' inherits '{cfg_path}', and there is no {{}}")
    return str(path), 'mmaction'


def needed() -> bool:
    """Whether mmengine does not resolve our names yet."""
    return Config._get_cfg_path is not _get_cfg_path


def apply() -> None:
    """Let :class:`Config` resolve names that begin with ``ata_mm::``."""
    Config._get_cfg_path = staticmethod(_get_cfg_path)
