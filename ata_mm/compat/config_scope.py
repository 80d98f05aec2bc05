# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Resolve ``_base_ = 'ata_mm::…'`` in a config.

mmengine has a fixed table of packages that a config may inherit from, without
ata_mm. An entry in that table would not suffice: mmengine would look up every
component of the inherited config in registries of the scope ``ata_mm``, while
ata_mm registers its components in those of mmaction. Nor does mmengine accept
a name without a folder, or find the configs of an editable install. Names that
begin with ``ata_mm::`` are therefore resolved here, and their components get
mmaction's scope; mmengine resolves all other names.

Upstream: https://github.com/open-mmlab/mmengine/issues/1410
"""

from pathlib import Path

from mmengine.config import Config
from mmengine.utils import check_file_exist

_PREFIX = 'ata_mm::'
CONFIGS = Path(__file__).resolve().parents[1] / '.mim' / 'configs'
_mmengine_get_cfg_path = Config._get_cfg_path


def _get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
    """Return the path of an inherited config and the scope of its parts.

    Raises:
        FileNotFoundError: If ata_mm has no config of this name.
    """
    if not cfg_path.startswith(_PREFIX):
        return _mmengine_get_cfg_path(cfg_path, filename)
    path = CONFIGS / cfg_path[len(_PREFIX) :]
    check_file_exist(
        path,
        f"Expected the name of a file in {CONFIGS} after 'ata_mm::', "
        f"but '{filename}' inherits '{cfg_path}', and {{}} does not exist.",
    )
    return str(path), 'mmaction'


def needed() -> bool:
    """Return whether mmengine does not resolve names of ata_mm yet."""
    return Config._get_cfg_path is not _get_cfg_path


def apply() -> None:
    """Make :class:`Config` resolve names that begin with ``ata_mm::``."""
    Config._get_cfg_path = staticmethod(_get_cfg_path)
