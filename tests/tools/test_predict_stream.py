# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from ata_mm.apis import StreamRecognizer, VideoRecognizer
from ata_mm.video import FrameSource

sys.path.append(str(Path(__file__).parents[1] / 'video'))
from made import make_video


def windows_of(folder):
    """The rows of both files, which have to agree."""
    with open(folder / 'predictions.jsonl') as file:
        entries = [json.loads(line) for line in file]
    with open(folder / 'predictions.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [float(row['start']) for row in rows] == [
        entry['start'] for entry in entries
    ]
    return entries


@pytest.fixture(scope='module')
def out(tmp_path_factory):
    return tmp_path_factory.mktemp('stream')


@pytest.fixture(scope='module')
def done(run, tiny_config, checkpoint, video_root, out):
    return run(
        'predict_stream.py',
        video_root / '0.mp4',
        '--config',
        tiny_config,
        '--checkpoint',
        checkpoint,
        '--stride',
        '0.4s',
        '--crops',
        1,
        '--reuse-tolerance',
        1e-5,
        '--out-dir',
        out,
        '--cfg-options',
        'model.backbone.temporal.match_on=content',
    )


def test_runs(done):
    assert done.returncode == 0, done.stderr


def test_windows_are_timed_in_seconds(done, out):
    # 10 frames a second, windows of 7 frames, one every 4.
    times = [(entry['start'], entry['end']) for entry in windows_of(out)]
    assert times == [(0, 0.7), (0.4, 1.1), (0.8, 1.5), (1.2, 1.9)]


def test_stdout_has_the_lines_of_the_file(done, out):
    assert done.stdout == (out / 'predictions.jsonl').read_text()


def test_predictions_are_those_of_the_class(
    done, out, tiny_config, checkpoint, video_root
):
    recognizer = VideoRecognizer(
        tiny_config, str(checkpoint), 'cpu', views='1x1'
    )
    for block in recognizer.model.backbone.blocks:
        block.temporal.match_on = 'content'
    with FrameSource(str(video_root / '0.mp4')) as source:
        expected = list(StreamRecognizer(recognizer, stride=4)(source))
    for entry, prediction in zip(windows_of(out), expected):
        assert entry['labels'] == [label for label, _ in prediction.labels]
        scores = [score for _, score in prediction.labels]
        assert entry['scores'] == pytest.approx(scores, abs=1e-6)


def test_overlay_has_every_frame(done, out):
    video = cv2.VideoCapture(str(out / 'overlay.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 20


def test_prints_the_number_of_reused_matchings(done):
    assert 'the next one shares 1 of 3 frame pairs' in done.stderr
    assert '9 solved, 3 reused' in done.stderr


def test_source_that_is_no_video(run, tiny_config, checkpoint, video_root):
    done = run(
        'predict_stream.py',
        video_root / 'list.txt',
        '--config',
        tiny_config,
        '--checkpoint',
        checkpoint,
    )
    assert done.returncode == 1
    assert done.stderr.startswith('predict_stream.py: error: ')
    assert 'list.txt cannot be decoded' in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    'signum, cause', [(signal.SIGINT, 'Ctrl-C'), (signal.SIGTERM, 'SIGTERM')]
)
def test_interrupt_leaves_complete_files(
    tiny_config, checkpoint, write_video, tmp_path, signum, cause
):
    write_video(tmp_path / 'long.mp4', num_frames=3000)
    command = [
        sys.executable,
        'tools/predict_stream.py',
        tmp_path / 'long.mp4',
        '--config',
        tiny_config,
        '--checkpoint',
        checkpoint,
        '--out-dir',
        tmp_path / 'out',
    ]
    env = dict(os.environ, PYTHONPATH='.', OMP_NUM_THREADS='1')
    with (
        open(tmp_path / 'errors', 'w+') as file,
        subprocess.Popen(
            list(map(str, command)),
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=file,
        ) as process,
    ):
        process.stdout.readline()
        process.send_signal(signum)
        # Not communicate(), which loses lines that readline() has buffered.
        rest = process.stdout.read()
    errors = (tmp_path / 'errors').read_text()
    assert process.returncode == 128 + signum, errors
    assert len(windows_of(tmp_path / 'out')) == 1 + len(rest.splitlines())
    decoded, _ = cv2.VideoCapture(str(tmp_path / 'out' / 'overlay.mp4')).read()
    assert decoded and f'stopped by {cause}' in errors


def test_times_are_those_of_the_frames(run, tiny_config, checkpoint, tmp_path):
    times = [2 * n + n // 7 * 5 for n in range(40)]
    make_video(tmp_path / 'a.mp4', times=times)
    done = run(
        'predict_stream.py',
        tmp_path / 'a.mp4',
        '--window',
        8,
        '--stride',
        8,
        '--config',
        tiny_config,
        '--checkpoint',
        checkpoint,
    )
    starts = [json.loads(line)['start'] for line in done.stdout.splitlines()]
    assert starts == [round(time / 25, 3) for time in times[::8]]


def test_a_full_disk_ends_the_stream_with_whole_files(
    run, tiny_config, checkpoint, video_root, tmp_path
):
    done = run(
        'predict_stream.py',
        video_root / '0.mp4',
        '--config',
        tiny_config,
        '--checkpoint',
        checkpoint,
        '--out-dir',
        tmp_path,
        max_file=10_000,
    )
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert message.startswith('predict_stream.py: error: ')
    assert f"'{tmp_path / 'overlay.mp4'}'. Make room" in message
    assert (tmp_path / 'predictions.jsonl').read_text() == done.stdout
    assert not (tmp_path / 'overlay.mp4').exists()


def test_a_restart_keeps_the_files_and_fps_replaces_the_times(
    run, tiny_config, checkpoint, video_root, tmp_path
):
    words = (
        video_root / '0.mp4',
        '--config',
        tiny_config,
        '--checkpoint',
        checkpoint,
        '--window',
        8,
        '--stride',
        8,
        '--out-dir',
        tmp_path,
        '--fps',
    )
    first, second = (run('predict_stream.py', *words, n) for n in (20, 40))
    assert json.loads(first.stdout.splitlines()[1])['start'] == 0.4
    assert json.loads(second.stdout.splitlines()[1])['start'] == 0.2
    assert (tmp_path / 'predictions_1.jsonl').read_text() == first.stdout
    assert (tmp_path / 'predictions.jsonl').read_text() == second.stdout
    assert (tmp_path / 'overlay_1.mp4').exists()
