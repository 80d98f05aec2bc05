# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""A handful of real video files, a tiny recipe on them, and its training."""

import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():  # before anything imports triton
    os.environ['TRITON_INTERPRET'] = '1'

import ata_mm  # noqa: F401  before any mmaction.models, as users do

import av  # noqa: F401  before decord, which loads its libraries globally
import mmengine.runner  # noqa: F401  whose checkpoints torch.load then reads
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope, init_default_scope

from ata_mm.video import VideoWriter

ROOT = Path(__file__).resolve().parents[1]
# By this name in forked processes too: packages of others install a `tests`.
sys.path.append(str(ROOT / 'tests'))
from tool_process import limit_files, run_forked  # noqa: E402

CLASSES = ('pan left', 'pan right')

CONFIG = """
custom_imports = dict(imports='ata_mm')
default_scope = 'mmaction'
root = {root!r}
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ATATimeSformer', num_frames=4, img_size=32, patch_size=16,
        embed_dims=24, num_heads=2, num_layers=2, drop_path_rate=0.,
        temporal=dict(type='ATA')),
    cls_head=dict(
        type='TimeSformerHead', num_classes=2, in_channels=24,
        average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3,
        format_shape='NCTHW'))
decode = [dict(type='VideoDecode'), dict(type='Resize', scale=(-1, 32))]
pack = [dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')]
sample = dict(type='SampleFrames', clip_len=4, frame_interval=2, num_clips=1)
crop = dict(type='CenterCrop', crop_size=32)
train_pipeline = [dict(type='VideoInit'), sample, *decode, crop, *pack]
sample = dict(sample, test_mode=True)
crop = dict(type='ThreeCrop', crop_size=32)
test_pipeline = [dict(type='VideoInit'), sample, *decode, crop, *pack]
dataset = dict(
    type='VideoDataset', ann_file=root + '/list.txt',
    data_prefix=dict(video=root),
    metainfo=dict(classes=root + '/classes.txt'))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(dataset, pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, pipeline=test_pipeline, test_mode=True))
val_evaluator = test_evaluator = dict(type='AccMetric')
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
"""


def _write_video(
    path: Path, num_frames: int = 20, step: int = 3, seed: int = 0
) -> None:
    scene = np.random.RandomState(seed).randint(0, 255, (48, 64, 3), np.uint8)
    with VideoWriter(path, fps=10, size=(64, 48)) as out:
        for frame in range(num_frames):
            out.write(np.roll(scene, frame * step, axis=1))


@pytest.fixture(autouse=True)
def keep_log_level():
    """Restore the level of mmengine's log, which command line tools raise."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def seeded():
    """Seed every random number generator before each test."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def mmaction_scope():
    """MMAction2's own models find their parts in this scope only."""
    before = DefaultScope.get_current_instance()
    init_default_scope('mmaction')
    yield
    if before is not None:
        init_default_scope(before.scope_name)


@pytest.fixture
def full_disk() -> Callable:
    """Context manager in which longer files fail, as on a full disk."""

    @contextmanager
    def _full_disk(max_file: int) -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit_files(max_file)
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return _full_disk


@pytest.fixture(scope='session')
def write_video() -> Callable:
    """Write an mp4 file of 64×48 pixels: a texture that moves sideways by
    step pixels a frame."""
    return _write_video


@pytest.fixture(scope='session')
def video_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of 0.mp4 … 3.mp4, their list.txt and classes.txt."""
    root = tmp_path_factory.mktemp('videos')
    for i in range(4):
        _write_video(root / f'{i}.mp4', step=3 * (-1) ** i, seed=i)
    lines = [f'{i}.mp4 {i % 2}\n' for i in range(4)]
    (root / 'list.txt').write_text(''.join(lines))
    (root / 'classes.txt').write_text('\n'.join(CLASSES) + '\n')
    return root


@pytest.fixture(scope='session')
def tiny_config(video_root: Path) -> Path:
    """A config that trains a tiny ATATimeSformer on video_root: one epoch
    of two iterations, tested with three crops."""
    path = video_root / 'tiny.py'
    path.write_text(CONFIG.format(root=str(video_root)))
    return path


@pytest.fixture(scope='session')
def run() -> Callable[..., subprocess.CompletedProcess]:
    """Run a script of tools/ in a process of its own with one thread.

    Python scripts are forked from a process that has imported MMAction2,
    unless the test sets environment variables. With max_file, longer files
    fail as on a full disk.
    """
    env = dict(
        os.environ,
        PYTHONPATH=str(ROOT),
        PYTHON=sys.executable,
        OMP_NUM_THREADS='1',
    )

    def _run(
        script: str, *args, max_file=resource.RLIM_INFINITY, **more
    ) -> subprocess.CompletedProcess:
        path, words = ROOT / 'tools' / script, [str(arg) for arg in args]
        if path.suffix == '.py' and not more:
            return run_forked(path, words, 300, max_file)
        start = 'bash' if path.suffix == '.sh' else sys.executable
        return subprocess.run(
            [start, str(path), *words],
            env=dict(env, **more),
            capture_output=True,
            text=True,
            timeout=300,
        )

    return _run


@pytest.fixture(scope='session')
def work_dir(run: Callable, tiny_config: Path) -> Path:
    """The work directory of tools/train.py after one epoch of tiny_config."""
    path = tiny_config.parent / 'work'
    done = run('train.py', tiny_config, '--work-dir', path, '--seed', 0)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope='session')
def checkpoint(work_dir: Path) -> Path:
    """The checkpoint of that training."""
    return work_dir / 'epoch_1.pth'


@pytest.fixture(scope='session')
def dump(run: Callable, tiny_config: Path, checkpoint: Path) -> Path:
    """The predictions that tools/test.py dumps for video_root."""
    path = tiny_config.parent / 'dump.pkl'
    done = run(
        'test.py',
        tiny_config,
        checkpoint,
        '--dump',
        path,
        '--work-dir',
        path.parent / 'tested',
    )
    assert done.returncode == 0, done.stderr
    return path
