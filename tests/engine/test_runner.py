# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import shutil
import signal
from pathlib import Path

import mmaction
import mmengine.runner  # noqa: F401  for torch.load of its checkpoints
import pytest
import torch

from ata_mm.engine import ResumableRunner

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
custom_hooks = [dict(type='FaultHook')]
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
    # Updates every second iteration, but checkpoints every third.
    accumulation="""
optim_wrapper = dict(
    accumulative_counts=2, clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=5, by_epoch=False),
    dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)]
custom_hooks = [dict(type='FaultHook'), dict(type='EMAHook', momentum=0.1)]
""",
)


# Data loading in the main process, which is the fastest, unless a test
# has several.
@pytest.fixture(scope='module', params=[0], ids='{} workers'.format)
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

    def _train(work_dir, *options, resume=None):
        # The seed of a resumed run is in its checkpoint.
        words = ['--seed', 3] if resume is None else ['--resume', *resume]
        if options:
            words += ['--cfg-options', *options]
        return run('train.py', config, '--work-dir', work_dir, *words)

    return _train


@pytest.fixture(scope='module')
def whole_run(train, config) -> Path:
    """The work directory of a run without a fault."""
    work_dir = config.parent / f'whole_{config.stem}'
    done = train(work_dir)
    assert done.returncode == 0, done.stderr
    return work_dir


@pytest.fixture(scope='module')
def uninterrupted(whole_run) -> dict:
    """The last checkpoint of that run."""
    return torch.load(whole_run / 'epoch_3.pth')


def fault(when: str, iteration: int, kind: str = 'kill') -> tuple:
    """The options of a fault."""
    values = dict(fault=kind, when=when, iter=iteration)
    return tuple(f'custom_hooks.0.{k}={v}' for k, v in values.items())


def error(done) -> str:
    """The message of a run that ends with one line, and no traceback."""
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    lines = done.stderr.splitlines()
    assert lines[-1].startswith('train.py: error: '), done.stderr
    return lines[-1]


def validations(checkpoint: dict) -> tuple:
    """The accuracies of all validations, and the best of them."""
    hub = checkpoint['message_hub']
    accuracies, _ = hub['log_scalars']['val/acc/top1'].data
    return list(accuracies), hub['runtime_info']['best_score']


def assert_equal_to_the_bit(one: dict, other: dict) -> None:
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


@pytest.mark.parametrize(
    'config, when, iteration',
    [
        (0, 'before_train_iter', 6),
        (2, 'before_train_iter', 6),
        (2, 'after_val_iter', 4),
        (0, 'after_val_epoch', 8),
        (2, 'fsync', 8),
    ],
    indirect=['config'],
)
def test_a_killed_run_resumes_to_the_same_bits(
    when, iteration, train, uninterrupted, tmp_path
):
    killed = train(tmp_path, *fault(when, iteration))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = train(tmp_path, resume=[])
    assert done.returncode == 0, done.stderr
    resumed = torch.load(tmp_path / 'epoch_3.pth')
    assert_equal_to_the_bit(uninterrupted['state_dict'], resumed['state_dict'])
    assert validations(resumed) == validations(uninterrupted)
    assert len(list(tmp_path.glob('best_*.pth'))) == 1


@pytest.mark.slow
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
    runs = [('whole', 99), ('killed', 8), ('killed', 11), ('killed', 99)]
    for name, iteration in runs:
        faults = fault('before_train_iter', iteration)
        work_dir = tmp_path / name
        words = [] if work_dir.exists() else ['--seed', 3]
        words += ['--work-dir', work_dir, '--resume', *options, *faults]
        done = run('train.py', path, *words)
        expected = 0 if iteration == 99 else -signal.SIGKILL
        assert done.returncode == expected, done.stderr
    whole, killed = (
        torch.load(tmp_path / name / 'iter_12.pth')
        for name in ('whole', 'killed')
    )
    # With EMAHook, the second are the trained weights, the first the mean.
    for key in ('state_dict', 'ema_state_dict'):
        assert_equal_to_the_bit(whole.get(key, {}), killed.get(key, {}))


@pytest.mark.parametrize(
    'when, iteration', [('before_train_iter', 8), ('after_val_epoch', 12)]
)
def test_a_resumed_run_stops_as_early(when, iteration, train, tmp_path):
    options = (
        *fault(when, iteration),
        'train_cfg.max_epochs=9',
        'default_hooks.stop.type=EarlyStoppingHook',
        'default_hooks.stop.monitor=acc/top1',
        'default_hooks.stop.patience=2',
        'default_hooks.stop.min_delta=2.0',  # never reached
    )
    assert train(tmp_path, *options).returncode == -signal.SIGKILL
    done = train(tmp_path, *options, resume=[])
    assert done.returncode == 0, done.stderr
    # The first score is the best, two more are the patience.
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_3.pth')


def test_a_full_disk_keeps_the_checkpoint_before(train, tmp_path):
    done = train(tmp_path, *fault('before_train_iter', 6, 'fill_disk'))
    message = error(done)
    assert str(tmp_path / 'epoch_2.pth') in message
    assert torch.load(tmp_path / 'epoch_1.pth')['meta']['iter'] == 4
    names = {path.name for path in tmp_path.glob('*.p*t*')}
    assert names == {'epoch_1.pth', 'best_acc_top1_epoch_1.pth'}


def test_a_moved_run_resumes_and_leaves_the_original(
    train, tmp_path, uninterrupted
):
    first, second = tmp_path / 'first', tmp_path / 'second'
    train(first, *fault('before_train_iter', 6))
    shutil.copytree(first, second)
    before = sorted(first.iterdir())
    assert train(second, resume=[]).returncode == 0
    assert sorted(first.iterdir()) == before
    assert len(list(second.glob('best_*.pth'))) == 1
    weights = torch.load(second / 'epoch_3.pth')['state_dict']
    assert_equal_to_the_bit(uninterrupted['state_dict'], weights)


def test_the_state_before_a_divergence_resumes(train, tmp_path, uninterrupted):
    message = error(train(tmp_path, *fault('before_train_iter', 6, 'diverge')))
    state = tmp_path / 'diverged_iter_6.pth'
    assert 'diverged in iteration 7 (epoch 2)' in message
    assert str(state) in message
    assert train(tmp_path, resume=[state]).returncode == 0
    weights = torch.load(tmp_path / 'epoch_3.pth')['state_dict']
    assert_equal_to_the_bit(uninterrupted['state_dict'], weights)


@pytest.mark.parametrize(
    'temporal', ['TemporalAveraging', 'TemporalAttention', 'ATA']
)
def test_a_diverged_loss_ends_the_run(temporal, train, tmp_path):
    message = error(
        train(
            tmp_path,
            'optim_wrapper.optimizer.lr=1e30',
            f'model.backbone.temporal.type={temporal}',
        )
    )
    assert 'diverged in iteration 2' in message
    state = torch.load(tmp_path / 'diverged_iter_1.pth')
    weights = state['state_dict'].values()
    assert all(weight.isfinite().all() for weight in weights)
    assert not list(tmp_path.glob('best_*'))


def test_no_best_checkpoint_has_scores_that_are_nan(train, tmp_path):
    done = train(tmp_path, *fault('before_val', 4, 'diverge'))
    assert 'diverged in the validation after iteration 4' in error(done)
    assert not list(tmp_path.glob('best_*'))


def test_nothing_to_resume_is_said(train, tmp_path, whole_run):
    weights = whole_run / 'epoch_3.pth'
    options = f'load_from={weights}', 'train_cfg.max_epochs=1'
    done = train(tmp_path, *options, resume=[])
    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    assert f'no checkpoint to resume from in {tmp_path}' in output
    assert f'Training starts from {weights}' in output


def test_a_new_run_in_the_folder_of_another_is_the_one_resumed(
    train, tmp_path, whole_run
):
    folder = tmp_path / 'run'
    shutil.copytree(whole_run, folder)
    train(folder, *fault('before_train_iter', 6))
    logs = ''.join(file.read_text() for file in folder.glob('*/*.log'))
    assert 'checkpoints of an earlier run, such as epoch_3.pth' in logs
    done = train(folder, 'train_cfg.max_epochs=2', resume=[])
    assert f'Load checkpoint from {folder / "epoch_1.pth"}' in (
        done.stdout + done.stderr
    )
    assert torch.load(folder / 'epoch_2.pth')['meta']['iter'] == 8


def test_weights_alone_are_not_resumed(train, tmp_path, whole_run):
    (best,) = whole_run.glob('best_*.pth')
    message = error(train(tmp_path, resume=[best]))
    assert f'load_from={best}' in message


@pytest.mark.parametrize(
    'option, reason',
    [
        (
            'optim_wrapper.optimizer.type=RMSprop',
            'its optimizer has no ',
        ),
        (
            'model.cls_head.num_classes=3',
            'size mismatch for cls_head.fc_cls.weight',
        ),
    ],
)
def test_a_run_of_another_config_is_not_resumed(
    option, reason, train, tmp_path, whole_run
):
    state = whole_run / 'epoch_3.pth'
    message = error(train(tmp_path, option, resume=[state]))
    assert reason in message and f'load_from={state}' in message
    assert 'Traceback' in next(tmp_path.glob('*/*.log')).read_text()


def test_another_length_of_the_epoch_is_said(train, tmp_path, whole_run):
    options = ('train_dataloader.batch_size=2', 'train_cfg.max_epochs=4')
    done = train(tmp_path, *options, resume=[whole_run / 'epoch_3.pth'])
    assert done.returncode == 0, done.stderr
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'An epoch has 2 batches, but had 4' in log


def test_a_misspelt_option_of_the_hook_is_refused(train, tmp_path):
    done = train(tmp_path, 'default_hooks.checkpoint.max_keep_ckpt=1')
    assert done.returncode == 1 and 'got max_keep_ckpt' in (
        done.stderr.replace("'", '')
    )
    assert not list(tmp_path.glob('*.pth'))


def test_a_damaged_checkpoint_and_another_batch_size_are_said(train, tmp_path):
    options = (
        'default_hooks.checkpoint.by_epoch=False',
        'default_hooks.checkpoint.max_keep_ckpts=-1',
        'train_cfg.max_epochs=1',
    )
    killed = train(tmp_path, *options, *fault('before_train_iter', 3))
    assert killed.returncode == -signal.SIGKILL
    path = tmp_path / 'iter_3.pth'
    path.write_bytes(path.read_bytes()[:-500])
    done = train(
        tmp_path, *options, 'train_dataloader.batch_size=2', resume=[]
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert f'Resuming from {tmp_path}/iter_2.pth. Passed over: ' in said
    assert f'{path}' in said.split('Passed over: ')[1]
    assert 'Epoch 1 starts from its beginning' in said
    # Two batches, and then an epoch of two.
    assert torch.load(tmp_path / 'iter_4.pth')['meta']['iter'] == 4


def test_the_launcher_of_mmaction2_resumes(run, tiny_config, tmp_path):
    script = Path(mmaction.__file__).parent / '.mim' / 'tools' / 'train.py'
    options = [
        f'{split}_dataloader.persistent_workers=False'
        for split in ('train', 'val', 'test')
    ]
    options.append('runner_type=ResumableRunner')
    for epochs, words in ((1, ['--seed', 3]), (2, ['--resume'])):
        done = run(
            str(script),
            tiny_config,
            '--work-dir',
            tmp_path,
            *words,
            '--cfg-options',
            *options,
            f'train_cfg.max_epochs={epochs}',
            OMP_NUM_THREADS='1',  # in a fresh interpreter
        )
        assert done.returncode == 0, done.stderr
    assert 'resumed epoch: 1, iter: 2' in done.stdout + done.stderr
    state = torch.load(tmp_path / 'epoch_2.pth')
    assert 'run_state' in state['message_hub']['runtime_info']


def test_a_training_without_a_loop_is_named():
    with pytest.raises(ValueError, match='Expected train_cfg with by_epoch'):
        ResumableRunner.build_train_loop(None, dict(max_epochs=1))
