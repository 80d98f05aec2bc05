# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Are the packages there that ata_mm requires, and do they go together?"""
import platform
import re
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from typing import Iterator, List, Optional

from importlib_metadata import PackageNotFoundError, requires, version
from packaging.requirements import Requirement

from .finding import FAULT, OK, WARNING, Finding

_SETUP_CFG = Path(__file__).parents[2] / 'setup.cfg'
# Packages that install the same folder, and what to install instead of both.
_ONE_FOLDER = {
    ('mmcv', 'mmcv-lite'): 'mmcv-lite==2.1.0',
    ('lap', 'lapx'): 'lapx>=0.11',
}


def check_packages() -> Iterator[Finding]:
    """Python, and all that ata_mm requires."""
    yield Finding(OK, 'Python', platform.python_version())
    for requirement in requirements():
        yield _compare(requirement)


def check_doubles() -> Iterator[Finding]:
    """mmcv, and packages of which only one may be there."""
    for names, instead in _ONE_FOLDER.items():
        found = [
            f'{name} {_installed(name)}' for name in names if _installed(name)
        ]
        if len(found) > 1:
            yield Finding(
                FAULT, names[-1], f'{" and ".join(found)} share one folder',
                f'run `pip uninstall -y {" ".join(names)}`, then '
                f"`pip install '{instead}'`")
        elif 'mmcv' in names:
            yield Finding(OK, 'mmcv', found[0] if found else 'not from pip')


def check_torchvision() -> Iterator[Finding]:
    """torchvision, which timm and mmpretrain need, imports only beside the
    torch that it was built for."""
    if not _installed('torchvision'):
        return
    try:
        import_module('torchvision')
    except Exception as error:  # RuntimeError, OSError, ImportError, …
        reason = str(error).splitlines()[0]
        yield Finding(
            WARNING, 'torchvision',
            f'does not import beside torch {version("torch")}: {reason}',
            'for image models of timm, torchvision or mmpretrain, install the '
            'torchvision that was built for this torch')
    else:
        yield Finding(OK, 'torchvision', version('torchvision'))


def requirements() -> List[Requirement]:
    """What ata_mm requires, extras left out: as setup.cfg says in a checkout,
    whose installation may be older, or else the metadata of the wheel."""
    if _SETUP_CFG.is_file():
        parser = ConfigParser()
        parser.read(_SETUP_CFG)
        lines = parser['options']['install_requires'].splitlines()
    else:
        lines = [i for i in requires('ata_mm') if not re.search('extra ==', i)]
    return [Requirement(line) for line in lines if line.strip()]


def _installed(name: str) -> Optional[str]:
    """The version of a package, None if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _compare(requirement: Requirement) -> Finding:
    """What is installed beside what is required."""
    name, wanted = requirement.name, requirement.specifier
    found = _installed(name)
    if found and wanted.contains(found, prereleases=True):
        return Finding(OK, name, found)
    return Finding(
        FAULT, name,
        f'is {found}, expected {wanted}' if found else 'is not installed',
        f"run `pip install '{name}{wanted}'`")
