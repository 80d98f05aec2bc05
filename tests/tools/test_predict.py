# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import importlib
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ata_mm.apis import VideoRecognizer
from ata_mm.cli.library import Process

ROOT = Path(__file__).resolve().parents[2]

DEADLY = """
import os
import signal

from mmaction.registry import TRANSFORMS

from ata_mm.datasets import VideoInit


@TRANSFORMS.register_module()
class DeadlyInit(VideoInit):
    def transform(self, results):
        if 'deadly' in results['filename']:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().transform(results)
"""
SLEEP = "__import__('time').sleep(60)"
WITH_DEADLY = """
custom_imports = dict(imports=['ata_mm', 'deadly'])
test_pipeline = [dict(type='DeadlyInit'), *_base_.test_pipeline[1:]]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
"""


FAILED = 'missing.mp4', 'corrupt.mp4', 'zero.mp4', 'image.png'


@pytest.fixture(scope='module')
def folder(video_root, write_video, tmp_path_factory):
    """Videos, and other files that users may pass."""
    root = tmp_path_factory.mktemp('inputs')
    (root / 'good' / 'deep').mkdir(parents=True)
    shutil.copy(video_root / '0.mp4', root / 'good')
    shutil.copy(video_root / '1.mp4', root / 'good' / 'deep' / '0.mp4')
    (root / 'good' / 'notes.txt').write_text('no video')
    (root / 'none').mkdir()
    write_video(root / 'short.mp4', num_frames=5)
    write_video(root / 'zero.mp4', num_frames=0)
    (root / 'corrupt.mp4').write_bytes(b'no video' * 100)
    cv2.imwrite(str(root / 'image.png'), np.zeros((48, 64, 3), np.uint8))
    return root


@pytest.fixture(scope='module')
def done(run, tiny_config, checkpoint, folder):
    """One run on all of them, and on missing files."""
    names = (
        'good',
        'short.mp4',
        'missing.mp4',
        'corrupt.mp4',
        'zero.mp4',
        'image.png',
        'none',
        '*.webm',
    )
    return run(
        'predict.py',
        *(folder / name for name in names),
        '--config',
        tiny_config,
        '--checkpoint',
        checkpoint,
        '--out-dir',
        folder / 'out',
    )


@pytest.fixture(scope='module')
def entries(done):
    """The lines of stdout."""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_video_has_a_line(entries, folder):
    videos = [entry['video'] for entry in entries]
    expected = 'good/0.mp4', 'good/deep/0.mp4', 'short.mp4', *FAILED
    assert videos == [str(folder / name) for name in expected]


def test_line_lists_the_best_first(entries):
    for entry in entries[:3]:
        assert set(entry['labels']) == {'pan left', 'pan right'}
        assert entry['scores'] == sorted(entry['scores'], reverse=True)


def test_line_of_a_failed_video_has_its_error(entries, folder):
    for name, entry in zip(FAILED, entries[3:]):
        assert set(entry) == {'video', 'error'}
        assert f'Expected a video file, but {folder}/{name}' in entry['error']


def test_failure_shows_in_the_exit_status(done):
    assert done.returncode == 1


@pytest.mark.parametrize(
    'name, complaint',
    [
        ('missing.mp4', 'does not exist.'),
        ('image.png', 'is an image.'),
        ('corrupt.mp4', 'cannot be decoded: Invalid data'),
        ('zero.mp4', 'has no video stream'),
    ],
)
def test_error_is_one_line(done, folder, name, complaint):
    lines = [i for i in done.stderr.splitlines() if i.startswith('error')]
    own = [line for line in lines if name in line]
    assert len(own) == 1
    assert own[0].startswith(
        f'error: Expected a video file, but {folder}/{name} {complaint}'
    )


def test_a_wrong_checkpoint_leaves_no_file_of_predictions(
    run, tiny_config, folder, tmp_path
):
    done = run(
        'predict.py',
        folder / 'short.mp4',
        '--config',
        tiny_config,
        '--checkpoint',
        tmp_path / 'typo.pth',
        '--out',
        tmp_path / 'out.jsonl',
    )
    assert done.returncode == 1 and 'typo.pth' in done.stderr
    assert not (tmp_path / 'out.jsonl').exists()


def test_folder_without_videos(done, folder):
    assert f'folder {folder}/none has no video file.' in done.stderr


def test_pattern_without_matches(done, folder):
    assert f'but no file matches {folder}/*.webm.' in done.stderr


def test_short_video_is_warned_of(done, folder):
    lines = [i for i in done.stderr.splitlines() if i.startswith('warning')]
    assert lines == [
        f'warning: {folder}/short.mp4 has 5 frames, fewer than the 7 of a '
        'clip (clip_len=4, frame_interval=2); SampleFrames repeats some'
    ]


def test_summary_names_the_failed(done, folder):
    failed = 'none', '*.webm', *FAILED
    lines = [f'  failed: {folder}/{name}' for name in failed]
    assert done.stderr.endswith(
        '\n'.join(['3 of 9 videos recognised', *lines]) + '\n'
    )


def test_annotated_copies(entries, folder):
    files = [entry['annotated'] for entry in entries[:3]]
    expected = '0.mp4', '0_2.mp4', 'short.mp4'
    assert files == [str(folder / 'out' / name) for name in expected]
    for file, frames in zip(files, (20, 20, 5)):
        assert cv2.VideoCapture(file).get(cv2.CAP_PROP_FRAME_COUNT) == frames


def test_never_writes_over_a_video(run, tiny_config, checkpoint, folder):
    done = run(
        'predict.py',
        folder / 'good' / '0.mp4',
        '--config',
        tiny_config,
        '--checkpoint',
        checkpoint,
        '--out-dir',
        folder / 'good',
    )
    assert done.returncode == 1
    assert f'would overwrite {folder}/good/0.mp4' in done.stderr


def test_folder_of_copies_that_is_a_file(run, tiny_config, checkpoint, folder):
    done = run(
        'predict.py',
        folder / 'good',
        '--config',
        tiny_config,
        '--checkpoint',
        checkpoint,
        '--out-dir',
        folder / 'short.mp4',
    )
    assert done.returncode == 1
    assert 'short.mp4 cannot be created: File exists' in done.stderr
    assert 'Traceback' not in done.stderr


def test_weights_that_are_not_finite_have_no_line(
    run, tiny_config, checkpoint, folder, tmp_path
):
    loaded = torch.load(checkpoint)
    loaded['state_dict']['backbone.norm.weight'][0] = float('nan')
    torch.save(loaded, tmp_path / 'nan.pth')
    done = run(
        'predict.py',
        folder / 'short.mp4',
        '--config',
        tiny_config,
        '--checkpoint',
        tmp_path / 'nan.pth',
    )
    assert done.returncode == 1 and not done.stdout
    assert 'Expected finite weights in' in done.stderr


def test_crashes_and_odd_names_cost_one_file(
    run, tiny_config, checkpoint, video_root, tmp_path
):
    """A decoder that is killed, a pipe and a name that is not UTF-8."""
    (tmp_path / 'deadly.py').write_text(DEADLY)
    config = tmp_path / 'config.py'
    config.write_text(f'_base_ = {str(tiny_config)!r}{WITH_DEADLY}')
    latin = os.fsencode(tmp_path / 'caf') + b'\xe9.mp4'
    for name in (b'a_deadly.mp4', b'z.mp4'):
        shutil.copy(video_root / '0.mp4', os.fsencode(tmp_path) + b'/' + name)
    shutil.copy(video_root / '0.mp4', latin)
    os.mkfifo(tmp_path / 'b.mp4')
    done = run(
        'predict.py',
        tmp_path,
        '--config',
        config,
        '--checkpoint',
        checkpoint,
        '--out-dir',
        tmp_path / 'copies',
        PYTHONPATH=f'{ROOT}:{tmp_path}:{os.environ.get("PYTHONPATH", "")}',
    )
    assert done.returncode == 1
    assert 'a_deadly.mp4 stops the decoder (SIGSEGV)' in done.stderr
    assert 'b.mp4 is a pipe or a device' in done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    videos = [line['video'] for line in lines if 'labels' in line]
    assert videos == [os.fsdecode(latin), str(tmp_path / 'z.mp4')]
    copies = sorted(path.name for path in (tmp_path / 'copies').iterdir())
    assert copies == ['caf\\udce9.mp4', 'z.mp4']


def test_a_copy_on_a_full_disk_is_removed_and_not_reported(
    run, tiny_config, checkpoint, video_root, tmp_path
):
    done = run(
        'predict.py',
        video_root / '0.mp4',
        '--config',
        tiny_config,
        '--checkpoint',
        checkpoint,
        '--out-dir',
        tmp_path,
        # More than the pixels that the model takes, which pass by a file.
        max_file=40_000,
    )
    assert done.returncode == 1 and 'annotated' not in done.stdout
    assert f"whole: '{tmp_path / '0.mp4'}'. Make room" in done.stderr
    assert not list(tmp_path.iterdir())


def test_demo(run):
    done = run('predict.py', '--demo')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)['labels'][0] == 'roll clockwise'


@pytest.mark.parametrize(
    'variables, threads', [({}, 2), ({'OMP_NUM_THREADS': '4'}, 4)]
)
def test_decoding_processes_have_cores(variables, threads, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tools')
    before = torch.get_num_threads()
    tool = importlib.import_module('predict')
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    try:
        torch.set_num_threads(4)
        tool.leave_cores(2)
        assert torch.get_num_threads() == threads
        tool.leave_cores(9)
        assert torch.get_num_threads() == (threads if variables else 1)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    'words, own',
    [(['--views', '1x2'], dict(views='1x2')), (['--amp'], dict(amp=True))],
    ids=['views', 'amp'],
)
def test_options_reach_the_model(
    run, tiny_config, checkpoint, video_root, words, own
):
    video = video_root / '0.mp4'
    model = '--config', tiny_config, '--checkpoint', checkpoint
    done = run('predict.py', video, *model, '--topk', 1, *words)
    entry = json.loads(done.stdout)
    plain, other = (
        VideoRecognizer(tiny_config, str(checkpoint), 'cpu', **options)
        for options in ({}, own)
    )
    ((label, score),) = other(video, topk=1)
    assert entry['labels'] == [label]
    assert entry['scores'] == pytest.approx([score], abs=1e-6)
    assert not torch.allclose(
        plain.scores(video), other.scores(video), atol=1e-5
    )


def test_a_slow_video_is_left_out(
    run, tiny_config, checkpoint, video_root, tmp_path
):
    (tmp_path / 'deadly.py').write_text(
        DEADLY.replace('os.kill(os.getpid(), signal.SIGSEGV)', SLEEP)
    )
    config = tmp_path / 'slow.py'
    config.write_text(f'_base_ = {str(tiny_config)!r}\n{WITH_DEADLY}')
    slow = shutil.copy(video_root / '1.mp4', tmp_path / 'deadly.mp4')
    done = run(
        'predict.py',
        slow,
        video_root / '0.mp4',
        '--config',
        config,
        '--checkpoint',
        checkpoint,
        '--time-limit',
        1,
        PYTHONPATH=f'{ROOT}{os.pathsep}{tmp_path}',
    )
    first, second = map(json.loads, done.stdout.splitlines())
    assert 'was not read within 1 s' in first['error']
    assert done.returncode == 1 and second['labels']


def test_processes_take_gpus_in_turn(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tools')
    find_device = importlib.import_module('predict').find_device
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 4)
    assert find_device(None, Process(9, 16, 5)) == 'cuda:1'
    assert find_device('cpu', Process(9, 16, 5)) == 'cpu'
    assert find_device(None, Process()) is None
