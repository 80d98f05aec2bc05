# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ata_mm.cli.result_files import ResultFile, newest_metrics


def videos(path):
    lines = Path(path).read_text().splitlines()
    return [json.loads(line)['video'] for line in lines]


def test_a_cut_line_is_repaired(tmp_path):
    path = tmp_path / 'out.jsonl'
    path.write_text('{"video": "a"}\n{"video": "' + 100_000 * 'x')
    with ResultFile(str(path)) as file:
        file.write(dict(video='b'))
    assert videos(path) == ['a', 'b']


def test_a_file_of_one_cut_line_is_emptied(tmp_path):
    path = tmp_path / 'out.jsonl'
    path.write_text('{"vid')
    ResultFile(str(path)).write(dict(video='b'))
    assert videos(path) == ['b']


def test_a_line_without_its_break_is_kept(tmp_path):
    path = tmp_path / 'out.jsonl'
    path.write_text('{"video": "a"}\n{"video": "b"}')
    ResultFile(str(path)).write(dict(video='c'))
    assert videos(path) == ['a', 'b', 'c']


def test_lines_can_be_read_at_once(tmp_path):
    with ResultFile(str(tmp_path / 'new' / 'out.jsonl')) as file:
        file.write(dict(video='a'))
        assert videos(file.path) == ['a']


def test_a_file_that_another_process_writes_to_is_refused(tmp_path):
    path = str(tmp_path / 'out.jsonl')
    code = (
        'import fcntl, sys; file = open(sys.argv[1], "ab+");'
        'fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True);'
        'sys.stdin.read()'
    )
    other = subprocess.Popen(
        [sys.executable, '-c', code, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    next(other.stdout)
    try:
        with pytest.raises(ValueError, match='writing to .*out.jsonl'):
            ResultFile(path)
    finally:
        other.communicate()


# A process that has a file, and a thread that waits for another one.
WAITING = """
import sys
from threading import Thread
from ata_mm.cli.result_files import lock_file

own, other = (open(path, 'wb') for path in sys.argv[1:])
locked = []

def wait():
    lock_file(other, 'other', wait=True)
    locked.append(other)

lock_file(own, 'own')
print('ready', flush=True)
sys.stdin.readline()
Thread(target=wait, daemon=True).start()
sys.stdin.readline()
print(len(locked), flush=True)
sys.stdin.readline()
"""


def test_processes_that_wait_for_each_other_have_no_file_in_common(tmp_path):
    files = [str(tmp_path / name) for name in ('a', 'b')]
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', WAITING, *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for names in (files, files[::-1])
    ]
    try:
        for process in processes:
            next(process.stdout)
        for _ in range(2):
            for process in processes:
                print(file=process.stdin, flush=True)
            time.sleep(0.5)
        assert [int(next(p.stdout)) for p in processes] == [0, 0]
    finally:
        for process in processes:
            process.communicate('end\n')


def test_the_newest_metrics_are_read(tmp_path):
    for number, accuracy in enumerate((0.4, 0.3)):
        file = tmp_path / str(1 - number) / 'metrics.json'
        file.parent.mkdir()
        file.write_text(json.dumps(dict(acc=accuracy)))
        os.utime(file, (number, number))
    assert newest_metrics(tmp_path) == {'acc': 0.3}
