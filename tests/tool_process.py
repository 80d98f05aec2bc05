# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Command line tools in processes forked after the imports.

Importing MMAction2 takes most of the time of a short run. A fork server
imports it once for all tools of a test process.
"""

import multiprocessing
import os
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
    script: Path, args: list, timeout: float
) -> subprocess.CompletedProcess:
    """Run a Python script as its own process, like `subprocess.run`."""
    with TemporaryDirectory() as folder:
        out, err = Path(folder, 'out'), Path(folder, 'err')
        process = start_forked(script, args, out, err)
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
    script: Path, args: list, out: Path, err: Path, **env: str
) -> BaseProcess:
    """Start a Python script as its own process."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(PRELOAD)
    process = context.Process(
        target=_main, args=(str(script), args, str(out), str(err), env)
    )
    process.start()
    return process


def _main(script: str, args: list, out: str, err: str, env: dict) -> None:
    os.environ.update(env)
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
    sys.argv = [script, *args]
    sys.path.insert(0, os.path.dirname(script))
    runpy.run_path(script, run_name='__main__')
