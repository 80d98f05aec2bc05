# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json
import os
import subprocess
import sys

import pytest
from mmengine.fileio import LocalBackend, register_backend

from ata_mm.cli.library import (
    Process,
    drop_done,
    merge,
    read_list,
    read_results,
)

NAMES = [f'{i}.mp4' for i in range(10)]


def write(path, *names, tail=''):
    lines = [json.dumps(dict(video=name)) + '\n' for name in names]
    path.write_text(''.join(lines) + tail)


def videos(path):
    return [entry['video'] for entry in read_results(str(path))]


def test_processes_share_a_list():
    shares = [Process(rank, 3).share(NAMES) for rank in range(3)]
    assert shares[1] == ['1.mp4', '4.mp4', '7.mp4']
    assert sorted(sum(shares, [])) == NAMES


def test_a_name_is_predicted_once():
    assert Process().share(['a', 'b', 'a']) == ['a', 'b']


@pytest.mark.parametrize(
    'launcher, prefix', [('pytorch', ''), ('slurm', 'SLURM_')]
)
def test_launchers_number_their_processes(monkeypatch, launcher, prefix):
    names = {
        'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
        'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    }[launcher]
    for name, value in zip(names, '583'):
        monkeypatch.setenv(name, value)
    process = Process.of(launcher)
    assert process == Process(rank=5, world_size=8, local_rank=3)
    assert process.file('a/b.jsonl') == 'a/b.rank5.jsonl'


def test_a_process_of_no_launcher_is_named(monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(ValueError, match='RANK is not set'):
        Process.of('pytorch')


def test_any_name_can_be_listed(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_bytes(b'\xef\xbb\xbfa b.mp4\r\n\ncaf\xe9.mp4\n/c [1].mp4')
    expected = ['a b.mp4', 'caf\udce9.mp4', '/c [1].mp4']
    assert list(read_list(str(path))) == expected


class Store(LocalBackend):
    """A file backend of another name."""

    def get_text(self, filepath, encoding='utf-8'):
        return f'{filepath}/a.mp4\r\nb.mp4\n'


def test_names_from_stdin_may_have_any_bytes():
    code = (
        'from ata_mm.cli.library import read_list\n'
        "print(ascii(list(read_list('-'))))"
    )
    read = subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'PYTHONIOENCODING': 'utf-8:strict'},
        input=b'caf\xe9.mp4\n',
        capture_output=True,
    )
    assert read.stdout.strip() == rb"['caf\udce9.mp4']"


def test_a_list_is_read_by_a_file_backend():
    register_backend('store', Store, force=True, prefixes='store')
    expected = ['store://list/a.mp4', 'b.mp4']
    assert list(read_list('store://list')) == expected


def test_an_address_of_no_backend_is_named():
    with pytest.raises(ValueError, match='backends, for --list, got no://a'):
        list(read_list('no://a'))


def test_what_any_process_has_done_is_left_out(tmp_path):
    write(tmp_path / 'out.jsonl', *NAMES[:2])
    write(tmp_path / 'out.rank0.jsonl', NAMES[5])
    write(tmp_path / 'out.rank12.jsonl', NAMES[7], tail='{"video": "8.mp')
    write(tmp_path / 'output.jsonl', NAMES[9])  # of another run
    left = drop_done(NAMES, str(tmp_path / 'out.jsonl'))
    assert left == [NAMES[i] for i in (2, 3, 4, 6, 8, 9)]


@pytest.mark.parametrize('line', ['no JSON', '[1]', '{"name": "a"}'])
def test_other_lines_are_named(tmp_path, line):
    path = tmp_path / 'out.jsonl'
    write(path, 'a', tail=line + '\n{"video": "b"}\n')
    with pytest.raises(ValueError, match=f'line 2 of {path}'):
        videos(path)


def test_merging_keeps_each_video_once(tmp_path):
    out = tmp_path / 'out.jsonl'
    write(out, 'a', 'b')
    write(tmp_path / 'out.rank0.jsonl', 'c', 'b')
    bad = '{"video": "d", "error": "is empty"}\n{"vid'
    write(tmp_path / 'out.rank1.jsonl', tail=bad)
    found = merge(str(out), ['a', 'b', 'c', 'd', 'e'])
    assert found == (4, ['d'], ['e'])
    assert videos(out) == ['a', 'b', 'c', 'd']
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    'line', ['no JSON', '{"video": "b", "scores": [NaN]}']
)
def test_a_merge_that_fails_leaves_the_files(tmp_path, line):
    out = tmp_path / 'out.jsonl'
    write(out, 'a', tail=line + '\n')
    with pytest.raises(ValueError, match=f'line 2 of {out} is none'):
        merge(str(out))
    assert list(tmp_path.iterdir()) == [out]


def test_files_of_others_are_left_alone(tmp_path):
    others = [tmp_path / f'out.rank{n}.jsonl' for n in ('_old', 'ed', '1.old')]
    for path in (tmp_path / 'out.rank0.jsonl', *others):
        write(path, path.name)
    merge(str(tmp_path / 'out.jsonl'))
    assert videos(tmp_path / 'out.jsonl') == ['out.rank0.jsonl']
    assert all(path.exists() for path in others)


def test_nothing_to_merge(tmp_path):
    with pytest.raises(FileNotFoundError, match='Expected predictions in'):
        merge(str(tmp_path / 'out.jsonl'))


def test_files_that_are_being_written_are_not_merged(tmp_path):
    out = tmp_path / 'out.jsonl'
    rank = tmp_path / 'out.rank1.jsonl'
    out.write_text('{"video": "a"}\n')
    rank.write_text('{"video": "b"}\n')
    code = (
        'import fcntl, sys\n'
        'file = open(sys.argv[1], "ab")\n'
        'fcntl.lockf(file, fcntl.LOCK_EX)\n'
        'print(flush=True)\n'
        'sys.stdin.read()'
    )
    with subprocess.Popen(
        [sys.executable, '-c', code, str(rank)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as writer:
        writer.stdout.readline()
        with pytest.raises(ValueError, match='writing to .*rank1'):
            merge(str(out))
        writer.stdin.close()
    assert rank.is_file()
    assert merge(str(out)).videos == 2
