# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Command line tools in processes forked after the imports.

Importing MMAction2 takes most of the time of a short run. A fork server
imports it once for all tools of a test process.
"""

import multiprocessing
import os
import resource
import runpy
import subprocess
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

PRELOAD = [
    'ata_mm.cli.arguments',
    'ata_mm.cli.launch',
    'ata_mm.visualization',
    'mmaction.apis',
    'mmaction.datasets',
    'mmaction.evaluation',
    'mmaction.visualization',
]


def run_forked(
    script: Path, args: list, timeout: float, max_file: int
) -> subprocess.CompletedProcess:
    """Run a Python script as its own process, like `subprocess.run`.

    Its files have at most max_file bytes, as on a full disk.
    """
    with TemporaryDirectory() as folder:
        out, err = Path(folder, 'out'), Path(folder, 'err')
        process = start_forked(script, args, out, err, max_file)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired([str(script), *args], timeout)
        return subprocess.CompletedProcess(
            [str(script), *args],
            process.exitcode,
            out.read_text(),
            err.read_text(),
        )


def start_forked(
    script: Path,
    args: list,
    out: Path,
    err: Path,
    max_file: int = resource.RLIM_INFINITY,
    **env: str,
) -> BaseProcess:
    """Start a Python script as its own process."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(PRELOAD)
    process = context.Process(
        target=_main,
        args=(str(script), args, str(out), str(err), max_file, env),
    )
    process.start()
    return process


def limit_files(size: int) -> None:
    """Let files of this process fail beyond a size, as on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


def _main(
    script: str, args: list, out: str, err: str, max_file: int, env: dict
) -> None:
    limit_files(max_file)
    os.environ.update(env)
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
    sys.argv = [script, *args]
    sys.path.insert(0, os.path.dirname(script))
    runpy.run_path(script, run_name='__main__')
