# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json
import subprocess
import sys
from pathlib import Path

from ata_mm.cli.result_files import ResultFile


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


def test_two_processes_do_not_write_to_one_file(tmp_path):
    path = str(tmp_path / 'out.jsonl')
    code = (
        'import sys, fcntl; file = open(sys.argv[1], "ab+");'
        'fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)'
    )
    with ResultFile(path):
        other = subprocess.run(
            [sys.executable, '-c', code, path], capture_output=True
        )
    assert b'BlockingIOError' in other.stderr
