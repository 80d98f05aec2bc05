# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Run tools in processes that have imported MMAction2 already."""

import multiprocessing
import os
import re
import runpy
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Thread

import ata_mm

_CONTEXT = multiprocessing.get_context('forkserver')
_GRACE = 5.0  # seconds after Ctrl-C, which both processes receive
_PRELOAD = [
    'ata_mm.cli.launch',
    'ata_mm.visualization',
    'mmaction.apis',
    'mmaction.evaluation',
    'mmaction.visualization',
]


def start_server() -> None:
    """Start to import MMAction2 for the processes of this module."""
    _CONTEXT.set_forkserver_preload(_PRELOAD)


def tool_path(name: str) -> Path:
    """Return the path of a script of ``tools``, of an installation too.

    Args:
        name (str): The script, such as ``'train.py'``.
    """
    return Path(ata_mm.__file__).parent / '.mim' / 'tools' / name


def run_tool(
    name: str,
    *args: object,
    shown: str = '',
    log: Path | None = None,
    advice: str = '',
) -> None:
    """Run a script of ``tools`` with the output of this process.

    Args:
        name (str): The script, such as ``'train.py'``.
        *args (object): Its arguments.
        shown (str): Pattern of the lines of stdout to show. Defaults to '',
            all.
        log (Path, optional): File of all lines. Defaults to None, no file.
        advice (str): What to do if it fails, beyond what it says. Defaults to
            ''.

    Raises:
        SystemExit: With its status, if it fails; it has printed the reason. Or
            if its output could not be passed on, after it has ended.
    """
    words = [str(arg) for arg in args]
    print(f'$ {shlex.join(["python", f"tools/{name}", *words])}', flush=True)
    reader, writer = multiprocessing.Pipe(duplex=False)
    errors: list[OSError] = []
    lines = Thread(target=_show, args=(reader, shown, log, errors))
    lines.start()
    try:
        run_process(
            _run_script, str(tool_path(name)), words, writer, advice=advice
        )
    finally:
        writer.close()
        lines.join()
    for error in errors:
        sys.exit(
            f'error: {log or "the output"} cannot be written: '
            f'{error.strerror}; {name} has ended without an error'
        )


def run_process(
    function: Callable[..., object], *args: object, advice: str = ''
) -> None:
    """Run a function in a process, and end with this one if it fails.

    However this process is ended, the other one ends too: the same command
    would otherwise start a second training in the same folder.

    Args:
        function (Callable): A function of a module.
        *args (object): Its arguments, which are pickled.
        advice (str): As in :func:`run_tool`. Defaults to ''.

    Raises:
        SystemExit: With the status of the process, if it fails.
    """
    sys.stdout.flush()
    reader, writer = multiprocessing.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_run, args=(reader, function, *args))
    # The first process waits for the imports of the server, which Ctrl-C would
    # end with a traceback.
    resource_tracker.ensure_running()  # its start unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    process.start()
    reader.close()
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        process.join()
    except KeyboardInterrupt:
        process.join(_GRACE)
        raise
    finally:
        writer.close()
    if process.exitcode and process.exitcode < 0:
        sys.exit(
            f'error: the process was ended by signal {-process.exitcode}. If '
            'that is 9, memory was short: use a smaller --batch-size.'
        )
    if process.exitcode:
        sys.exit(f'error: {advice}' if advice else process.exitcode)


def _run(
    starter: Connection, function: Callable[..., object], *args: object
) -> None:
    Thread(target=_end_after, args=(starter,), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        function(*args)
    except KeyboardInterrupt:  # reported by the process that started this one
        sys.exit(128 + signal.SIGINT)


def _end_after(starter: Connection) -> None:
    """End this process and its children after the one that started it.

    A signal from the kernel would wait for the parent, the fork server, which
    lives as long as this process.

    Args:
        starter (Connection): Is closed at the end of that process.
    """
    wait([starter])
    try:
        for child in multiprocessing.active_children():
            child.kill()
    finally:
        os.kill(os.getpid(), signal.SIGKILL)


def _show(
    reader: Connection, shown: str, log: Path | None, errors: list[OSError]
) -> None:
    """Pass the lines of a process on, and write them to a file.

    After an error, which is kept, they are read to the end: the process would
    wait for it.
    """
    pattern = re.compile(shown)
    with os.fdopen(os.dup(reader.fileno()), errors='replace') as lines:
        try:
            with open(log or os.devnull, 'a', encoding='utf-8') as file:
                for line in lines:
                    file.write(line)
                    if pattern.search(line):
                        print(line, end='', flush=True)
        except OSError as error:
            errors.append(error)
            for _ in lines:
                pass


def _run_script(script: str, args: Sequence[str], out: Connection) -> None:
    os.dup2(out.fileno(), 1)
    out.close()
    # The stream of the server would seek, which a pipe cannot.
    sys.stdout = os.fdopen(1, 'w', buffering=1, closefd=False)
    # mmengine sets one for data loading, and warns of another before.
    multiprocessing.set_start_method(None, force=True)
    sys.argv = [script, *args]
    sys.path.insert(0, os.path.dirname(script))
    runpy.run_path(script, run_name='__main__')
