# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Check packages, shims and hardware before a long run.

``python -m ata_mm doctor`` prints the findings. A check is a function that
yields findings; add one to :data:`CHECKS` to have it run.
"""

import inspect
import os
import platform
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from ata_mm import compat

import numpy as np
import torch
from importlib_metadata import PackageNotFoundError, requires, version
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.device import get_device
from packaging.requirements import Requirement
from rich.console import Console
from rich.text import Text

from ata_mm.compat import cpu_distributed
from ata_mm.ops import ExactMatcher
from ata_mm.video import DecordReader, PyAVReader, VideoReader, write_video

from .console import hide_log

OK, WARNING, FAULT = 'ok', 'warning', 'fault'

_COLOURS = {OK: 'green', WARNING: 'yellow', FAULT: 'red'}
_SETUP_CFG = Path(__file__).parents[2] / 'setup.cfg'
# Packages that install the same folder, and the one to keep.
_ONE_FOLDER = {
    ('mmcv', 'mmcv-lite'): 'mmcv-lite==2.1.0',
    ('lap', 'lapx'): 'lapx>=0.11',
}
_NUM_FRAMES = 8


class Finding(NamedTuple):
    """One line of the doctor.

    Args:
        status (str): 'ok'; 'warning' if a feature may be missing; or 'fault'
            if something does not work.
        subject (str): The package or part that was checked.
        detail (str): The result of the check.
        advice (str): How to fix it. Defaults to ''.
    """

    status: str
    subject: str
    detail: str
    advice: str = ''

    def render(self) -> Text:
        """Return the finding as a line with a coloured status."""
        text = f'{self.subject}: {self.detail}'
        if self.advice:
            text += f'; {self.advice}'
        return Text.assemble((f'{self.status:8}', _COLOURS[self.status]), text)


Check = Callable[[], Iterator[Finding]]


def check_packages() -> Iterator[Finding]:
    """Check Python and the requirements of ata_mm."""
    yield Finding(OK, 'Python', platform.python_version())
    for requirement in requirements():
        yield _check_requirement(requirement)


def check_doubles() -> Iterator[Finding]:
    """Check mmcv and packages that exclude each other."""
    for names, kept in _ONE_FOLDER.items():
        found = [
            f'{name} {_installed(name)}' for name in names if _installed(name)
        ]
        if len(found) > 1:
            yield Finding(
                FAULT,
                names[-1],
                f'{" and ".join(found)} share one folder',
                f'run `pip uninstall -y {" ".join(names)}`, then '
                f"`pip install '{kept}'`",
            )
        elif 'mmcv' in names:
            yield Finding(OK, 'mmcv', found[0] if found else 'not from pip')


def check_torchvision() -> Iterator[Finding]:
    """Check that torchvision imports, if it is installed.

    timm and mmpretrain need it. It imports only together with the torch that
    it was built for.
    """
    if not _installed('torchvision'):
        return
    try:
        import_module('torchvision')
    except Exception as error:  # RuntimeError, OSError, ImportError, …
        reason = str(error).splitlines()[0]
        yield Finding(
            WARNING,
            'torchvision',
            f'cannot be imported with torch {version("torch")}: {reason}',
            'for image models of timm, torchvision or mmpretrain, install the '
            'torchvision that was built for this torch',
        )
    else:
        yield Finding(OK, 'torchvision', version('torchvision'))


def check_shims() -> Iterator[Finding]:
    """Report each shim of :mod:`ata_mm.compat` and whether it applies."""
    for shim, applied in compat.report():
        yield _describe_shim(shim, 'applied', applied)
    distributed = Config(dict(launcher='pytorch'))
    yield _describe_shim(
        cpu_distributed,
        'in distributed runs',
        cpu_distributed.needed(distributed),
    )


def check_gpu() -> Iterator[Finding]:
    """Report the GPUs that torch can use."""
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            name = torch.cuda.get_device_name(index)
            memory = torch.cuda.get_device_properties(index).total_memory
            yield Finding(
                OK,
                f'GPU {index}',
                f'{name}, {memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}',
            )
    elif get_device() != 'cpu':
        yield Finding(OK, 'GPU', get_device())
    elif shutil.which('nvidia-smi'):
        yield Finding(
            WARNING,
            'GPU',
            'nvidia-smi is installed, but torch '
            f'{torch.__version__} cannot use a GPU',
            'install a driver and a torch that support each other: '
            'https://pytorch.org/get-started/locally',
        )
    else:
        yield Finding(
            WARNING,
            'GPU',
            f'none; models run on {len(os.sched_getaffinity(0))} CPU cores',
            'fine for the quick start; the recipes of the paper need GPUs',
        )


def check_decoder() -> Iterator[Finding]:
    """Write a small video with OpenCV, and decode it with each decoder."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'grey.mp4')
        frames = (np.full((64, 96, 3), level, np.uint8) for level in _levels())
        write_video(path, frames, fps=10)
        for package, reader in (('decord', DecordReader), ('av', PyAVReader)):
            yield _check_reader(package, reader(path))


def _check_reader(package: str, reader: VideoReader) -> Finding:
    """Compare what a decoder reads with what was written."""
    with reader:
        decoded = np.stack(reader.frames(range(len(reader))))
    levels = decoded.mean(axis=(1, 2, 3))
    if len(decoded) != _NUM_FRAMES or np.abs(levels - _levels()).max() > 8:
        return Finding(
            FAULT,
            'decoder',
            f'a video of {_NUM_FRAMES} frames of brightness '
            f'{_levels().tolist()} was decoded by {package} as '
            f'{levels.round().tolist()}',
            f'reinstall: `pip install --force-reinstall --no-deps {package}`',
        )
    return Finding(
        OK, 'decoder', f'{package} reads an mp4 file of {_NUM_FRAMES} frames'
    )


def check_solver() -> Iterator[Finding]:
    """Compare lapx with scipy on small matchings."""
    similarity = torch.rand(8, 49, 49, generator=torch.Generator())
    matchings = [
        ExactMatcher(solver).match(similarity) for solver in ('lapx', 'scipy')
    ]
    lapx, scipy = (
        similarity.gather(-1, matching[..., None]).sum()
        for matching in matchings
    )
    if torch.allclose(lapx, scipy):
        yield Finding(OK, 'solver', 'lapx finds the optimum that scipy finds')
    else:
        yield Finding(
            FAULT,
            'solver',
            f'lapx reaches a similarity of {lapx:.3f}, scipy {scipy:.3f}',
            'reinstall it: `pip install --force-reinstall --no-deps lapx`, or '
            "set matcher=dict(type='ExactMatcher', solver='scipy')",
        )


def check_model() -> Iterator[Finding]:
    """Run a small ATATimeSformer forward and backward."""
    device = get_device()
    start = time.perf_counter()
    model = MODELS.build(
        dict(
            _scope_='mmaction',
            type='ATATimeSformer',
            num_frames=8,
            img_size=64,
            embed_dims=48,
            num_heads=4,
            num_layers=2,
            temporal=dict(type='ATA', zero_init=False),
        )
    ).to(device)
    clips = torch.randn(2, 3, 8, 64, 64, device=device)
    model(clips).square().mean().backward()
    seconds = time.perf_counter() - start
    invalid = [
        name
        for name, weight in model.named_parameters()
        if weight.grad is None or not weight.grad.isfinite().all()
    ]
    if invalid:
        yield Finding(
            FAULT,
            'self-test',
            f'no finite gradient on {device} for '
            f'{len(invalid)} parameters, such as {invalid[0]}',
            'install a torch that supports the driver of this machine: '
            'https://pytorch.org/get-started/locally',
        )
    else:
        yield Finding(
            OK,
            'self-test',
            'ATATimeSformer, forward and backward '
            f'on {device}, {seconds:.1f} s',
        )


CHECKS: Sequence[Check] = (
    check_packages,
    check_doubles,
    check_torchvision,
    check_shims,
    check_gpu,
    check_decoder,
    check_solver,
    check_model,
)


def examine(checks: Sequence[Check] = CHECKS) -> Iterator[Finding]:
    """Run checks; one that raises is a fault and does not stop the others.

    Args:
        checks (Sequence[Callable]): The checks. Defaults to all.

    Yields:
        Finding: The findings, as they become available.
    """
    for check in checks:
        try:
            yield from check()
        except Exception as error:  # of any kind, from any broken package
            yield Finding(
                FAULT,
                check.__name__.replace('check_', ''),
                f'{type(error).__name__}: {error}'.splitlines()[0],
                'reinstall the package that raises this error',
            )


def doctor() -> int:
    """Print all findings and their counts.

    Returns:
        int: The exit status, 1 if there is a fault.
    """
    hide_log()
    console = Console(soft_wrap=True)
    counts: Counter = Counter()
    for finding in examine():
        console.print(finding.render(), highlight=False)
        counts[finding.status] += 1
    console.print(f'faults: {counts[FAULT]}, warnings: {counts[WARNING]}')
    return 1 if counts[FAULT] else 0


def requirements() -> list[Requirement]:
    """Return the requirements of ata_mm without extras.

    In a checkout they are read from setup.cfg, since the metadata of its
    installation may be older; otherwise from the metadata of the wheel.
    """
    if _SETUP_CFG.is_file():
        parser = ConfigParser()
        parser.read(_SETUP_CFG)
        lines = parser['options']['install_requires'].splitlines()
    else:
        lines = [
            line
            for line in requires('ata_mm') or []
            if not re.search('extra ==', line)
        ]
    return [Requirement(line) for line in lines if line.strip()]


def _installed(name: str) -> str | None:
    """Return the version of a package, or None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _check_requirement(requirement: Requirement) -> Finding:
    """Compare the installed version with a requirement."""
    name, expected = requirement.name, requirement.specifier
    found = _installed(name)
    if found and expected.contains(found, prereleases=True):
        return Finding(OK, name, found)
    return Finding(
        FAULT,
        name,
        f'is {found}, expected {expected}' if found else 'is not installed',
        f"run `pip install '{name}{expected}'`",
    )


def _describe_shim(shim: ModuleType, when: str, applies: bool) -> Finding:
    """Report a shim with the first sentence of its docstring."""
    reason = (inspect.getdoc(shim) or '').split('\n\n')[0].replace('\n', ' ')
    name = shim.__name__.rpartition('.')[2]
    return Finding(
        OK, f'shim {name}', f'{when if applies else "not needed"}: {reason}'
    )


def _levels() -> np.ndarray:
    """Return the brightness of each frame of the test video."""
    return np.linspace(40, 215, _NUM_FRAMES).round()
