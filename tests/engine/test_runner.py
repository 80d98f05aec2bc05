# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import signal
from pathlib import Path

import pytest
import torch

# Random numbers of Python, numpy and torch, in workers and in the model.
RANDOM = """
_base_ = {base!r}
custom_imports = dict(imports=['ata_mm', 'faults'])
model = dict(backbone=dict(drop_path_rate=0.5))
train_dataloader = dict(
    num_workers={workers}, batch_size=1, dataset=dict(pipeline=[
        dict(type='DecordInit'),
        dict(type='SampleFrames', clip_len=4, frame_interval=2, num_clips=1),
        dict(type='DecordDecode'),
        dict(type='RandomResizedCrop'), dict(type='Flip'),
        dict(type='Resize', scale=(32, 32), keep_ratio=False),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs')]))
val_dataloader = dict(num_workers={workers})
default_hooks = dict(checkpoint=dict(
    type='CheckpointHook', interval=1, save_best='auto', rule='greater',
    max_keep_ckpts=1))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
param_scheduler = dict(type='StepLR', step_size=1, gamma=0.5)
train_cfg = dict(max_epochs=3)
randomness = dict(seed=3)
custom_hooks = [dict(type='KillHook', when='never', iter=0)]
"""

# Schedules other than mmengine's usual one, with checkpoints every 3 of 12
# iterations, that is within epochs of 4.
SCHEDULES = dict(
    epochs='',
    iterations="""
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=12, val_interval=4)
train_dataloader = dict(sampler=dict(type='InfiniteSampler'))
param_scheduler = dict(by_epoch=False, step_size=4)
""",
    passes="""
train_cfg = dict(_delete_=True, by_epoch=False, max_iters=12, val_interval=4)
param_scheduler = dict(by_epoch=False, step_size=4)
""",
)


@pytest.fixture(scope='module', params=[0, 2], ids='{} workers'.format)
def config(request, tiny_config) -> Path:
    """A config of three epochs of four iterations."""
    path = tiny_config.parent / f'random_{request.param}.py'
    path.write_text(
        RANDOM.format(base=tiny_config.name, workers=request.param)
    )
    return path


@pytest.fixture(scope='module')
def train(run, config):
    """Run train.py; options follow --cfg-options."""

    def _train(work_dir, *options, resume=False):
        words = ['--resume'] if resume else []
        if options:
            words += ['--cfg-options', *options]
        return run('train.py', config, '--work-dir', work_dir, *words)

    return _train


@pytest.fixture(scope='module')
def uninterrupted(train, config) -> dict:
    """The checkpoint of a run without a fault."""
    work_dir = config.parent / f'whole_{config.stem}'
    done = train(work_dir)
    assert done.returncode == 0, done.stderr
    return torch.load(work_dir / 'epoch_3.pth')


def kill(when: str, iteration: int) -> tuple:
    """The options that kill a run."""
    return f'custom_hooks.0.when={when}', f'custom_hooks.0.iter={iteration}'


def assert_equal_to_the_bit(one: dict, other: dict) -> None:
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


@pytest.mark.parametrize(
    'when, iteration',
    [
        ('before_train_iter', 6),
        ('after_val_iter', 4),
        ('after_val_epoch', 8),
        ('fsync', 8),
    ],
)
def test_a_killed_run_resumes_to_the_same_bits(
    when, iteration, train, uninterrupted, tmp_path
):
    killed = train(tmp_path, *kill(when, iteration))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = train(tmp_path, resume=True)
    assert done.returncode == 0, done.stderr
    resumed = torch.load(tmp_path / 'epoch_3.pth')
    assert_equal_to_the_bit(uninterrupted['state_dict'], resumed['state_dict'])
    best = uninterrupted['message_hub']['runtime_info']['best_score']
    assert resumed['message_hub']['runtime_info']['best_score'] == best
    assert len(list(tmp_path.glob('best_*.pth'))) == 1


@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize('config', [2], indirect=True)
def test_a_run_resumes_within_an_epoch(schedule, config, run, tmp_path):
    path = config.parent / f'{schedule}.py'
    path.write_text(f'_base_ = {config.name!r}\n{SCHEDULES[schedule]}')
    options = (
        '--cfg-options',
        'default_hooks.checkpoint.by_epoch=False',
        'default_hooks.checkpoint.interval=3',
    )
    for name, iteration in (
        ('whole', 99),
        *[('killed', n) for n in (8, 11, 99)],
    ):
        faults = kill('before_train_iter', iteration)
        words = ['--work-dir', tmp_path / name, '--resume', *options, *faults]
        done = run('train.py', path, *words)
        expected = 0 if iteration == 99 else -signal.SIGKILL
        assert done.returncode == expected, done.stderr
    whole, killed = (
        torch.load(tmp_path / name / 'iter_12.pth')['state_dict']
        for name in ('whole', 'killed')
    )
    assert_equal_to_the_bit(whole, killed)
