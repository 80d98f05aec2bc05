# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json
import shutil
import time
from pathlib import Path

import pytest
from tool_process import start_forked

PREDICT = Path(__file__).resolve().parents[2] / 'tools' / 'predict.py'
SLOW = """
import time

from mmaction.registry import TRANSFORMS

from ata_mm.datasets import VideoInit


@TRANSFORMS.register_module()
class SlowInit(VideoInit):
    def transform(self, results):
        time.sleep(0.3)
        return super().transform(results)
"""
WITH_SLOW = """
import sys
sys.path.append({folder!r})
custom_imports = dict(imports=['ata_mm', 'slow_init'])
test_pipeline = [dict(type='SlowInit'), *_base_.test_pipeline[1:]]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
"""


@pytest.fixture
def library(video_root, tmp_path):
    """Twelve videos, of which two cannot be read, and their list."""
    videos = [tmp_path / f'{i}.mp4' for i in range(12)]
    for video in videos:
        shutil.copy(video_root / '0.mp4', video)
    videos[3].write_bytes(b'no video')
    videos[8].unlink()
    lines = [f'{video}\n' for video in videos]
    (tmp_path / 'list.txt').write_text(''.join(lines))
    return [str(video) for video in videos]


@pytest.fixture
def options(tiny_config, checkpoint, tmp_path):
    options = ['--config', tiny_config, '--checkpoint', checkpoint]
    options += ['--list', tmp_path / 'list.txt']
    return [*map(str, options), '--out', str(tmp_path / 'out' / 'a.jsonl')]


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_goes_on_where_it_was_cut(run, library, options, tmp_path):
    out = tmp_path / 'out' / 'a.jsonl'
    done = run('predict.py', *options, '--batch', 9, '--workers', 2)
    assert done.returncode == 1
    assert '10 of 12 videos recognised' in done.stderr
    entries = read(out)
    assert [entry['video'] for entry in entries] == library
    failed = [entry['video'] for entry in entries if 'error' in entry]
    assert failed == [library[3], library[8]]

    text = out.read_text().splitlines(keepends=True)
    out.write_text(''.join(text[:10]) + text[10][:20])
    done = run('predict.py', *options, '--resume')
    assert done.returncode == 0
    assert '2 of 2 videos recognised' in done.stderr
    assert read(out) == entries

    done = run('predict.py', *options)
    assert done.returncode == 1 and f'{out} exists' in done.stderr
    assert read(out) == entries


@pytest.mark.parametrize(
    'words, message',
    [
        (['a.mp4', '--resume'], 'expected --out with --resume'),
        ([], 'expected VIDEO or --list'),
        (['--list', '-', '--launcher', 'slurm', '--out', 'a'], 'not stdin'),
    ],
)
def test_options_that_do_not_fit(run, words, message):
    model = '--config', 'a.py', '--checkpoint', 'a.pth'
    done = run('predict.py', *words, *model)
    assert done.returncode == 2 and message in done.stderr


def start(options, number, *more):
    """Start the processes of a job as torchrun does."""
    out = Path(options[-1]).parents[1]
    return [
        start_forked(
            PREDICT,
            [*options, '--launcher', 'pytorch', *more],
            out / f'log{number}_{rank}',
            out / f'errors{number}_{rank}',
            RANK=str(rank),
            WORLD_SIZE=str(number),
            LOCAL_RANK=str(rank),
        )
        for rank in range(number)
    ]


def test_a_killed_job_goes_on_in_more_processes(
    run, library, options, tiny_config, tmp_path
):
    (tmp_path / 'slow_init.py').write_text(SLOW)
    slow = tmp_path / 'slow.py'
    text = WITH_SLOW.format(folder=str(tmp_path))
    slow.write_text(f'_base_ = {str(tiny_config)!r}{text}')
    options[1] = str(slow)
    out = tmp_path / 'out'

    job = start(options, 2)
    end = time.monotonic() + 100
    while not all(
        (out / f'a.rank{rank}.jsonl').exists()
        and read(out / f'a.rank{rank}.jsonl')
        for rank in range(2)
    ):
        assert time.monotonic() < end
        time.sleep(0.05)
    for process in job:
        process.kill()
        process.join()
    before = [read(path) for path in out.iterdir()]
    assert 2 <= sum(map(len, before)) < 12

    job = start(options, 3, '--resume')
    for process in job:
        process.join(100)
        assert process.exitcode == 0
    assert len(list(out.iterdir())) == 3
    assert sum(len(read(path)) for path in out.iterdir()) == 12

    done = run('predict.py', '--merge', *options[-4:])
    assert done.returncode == 1
    assert '2 of them with errors; 0 of the list are missing' in done.stderr
    assert sorted(e['video'] for e in read(out / 'a.jsonl')) == sorted(library)
