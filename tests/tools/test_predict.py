# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json

import pytest


@pytest.fixture(scope='module')
def done(run, tiny_config, checkpoint, video_root):
    """A run of predict.py on a good, a missing and another good file."""
    videos = [video_root / name for name in ('0.mp4', 'x.mp4', '1.mp4')]
    return run('predict.py', *videos, '--config', tiny_config, '--checkpoint',
               checkpoint, '--out', video_root / 'out.json')


def test_failure_shows_in_the_exit_status(done):
    assert done.returncode == 1


def test_error_is_one_line(done, video_root):
    lines = [i for i in done.stderr.splitlines() if 'x.mp4' in i]
    assert lines == [
        f'error: {video_root}/x.mp4 does not exist; expected a video file'
    ]


def test_table_lists_the_best_first(done, video_root):
    video, first, second = done.stdout.splitlines()[:3]
    assert video == f'{video_root}/0.mp4'
    assert first.split()[0] == '1' and second.split()[0] == '2'
    assert float(first.split()[-1]) >= float(second.split()[-1])


def test_summary_names_the_failed(done, video_root):
    assert done.stdout.endswith('2 of 3 videos recognised\n'
                                f'  failed: {video_root}/x.mp4\n')


def test_json_holds_the_predictions(done, video_root):
    first, failed, _ = json.loads((video_root / 'out.json').read_text())
    labels = {entry['label'] for entry in first['predictions']}
    assert labels == {'pan left', 'pan right'}
    assert 'does not exist' in failed['error']
