# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What the processes do is tested in tests/tools/test_finetune.py."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ata_mm.cli import tool_process as module
from ata_mm.cli.tool_process import run_process, run_tool

ROOT = Path(__file__).resolve().parents[2]
# A shell ignores Ctrl-C in what it starts in the background, the tests too.
START = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.append({folder!r})
from test_tool_process import work
from ata_mm.cli.tool_process import run_process
run_process(work, {file!r})
"""


def work(file):
    """Note the ids of this process and of one that it starts, and sleep."""
    worker = multiprocessing.get_context('fork').Process(
        target=time.sleep, args=(60,), daemon=True
    )
    worker.start()
    Path(f'{file}.part').write_text(f'{os.getpid()} {worker.pid}')
    os.rename(f'{file}.part', file)
    time.sleep(60)


def interrupt():
    raise KeyboardInterrupt


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def is_running(pid):
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.split()[0] != 'Z'


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
@pytest.mark.parametrize(
    'number', [signal.SIGTERM, signal.SIGKILL, signal.SIGINT]
)
def test_no_process_outlives_the_one_that_started_it(number, tmp_path):
    file = tmp_path / 'ids'
    code = START.format(folder=str(Path(__file__).parent), file=str(file))
    starter = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT)
    assert wait_for(file.exists, 60)
    processes = [int(word) for word in file.read_text().split()]
    try:
        assert all(map(is_running, processes))
        starter.send_signal(number)
        starter.wait(20)
        assert wait_for(lambda: not any(map(is_running, processes)), 5)
    finally:
        starter.kill()
        for pid in filter(is_running, processes):
            os.kill(pid, signal.SIGKILL)


def test_status_of_the_process_is_passed_on():
    with pytest.raises(SystemExit, match='^3$'):
        run_process(sys.exit, 3)


def test_an_interrupted_process_prints_no_traceback(capfd):
    with pytest.raises(SystemExit, match='^130$'):
        run_process(interrupt)
    assert 'Traceback' not in capfd.readouterr().err


def test_a_tool_ends_though_its_log_cannot_be_written(tmp_path, monkeypatch):
    script = tmp_path / 'tool.py'
    script.write_text('print(100_000 * "line\\n")\nopen("ended", "w")')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, 'tool_path', lambda name: script)
    with pytest.raises(SystemExit, match='/dev/full cannot be written: No sp'):
        run_tool('tool.py', shown='never', log=Path('/dev/full'))
    assert (tmp_path / 'ended').exists()
