# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json
import os
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

sys.path.append(str(Path(__file__).parents[1] / 'video'))
from made import make_video

TRAIN = str(Path(__file__).resolve().parents[2] / 'tools' / 'train.py')


@pytest.fixture
def options(tiny_config, monkeypatch):
    """The config after train.py has applied these command line options."""

    def _options(*args) -> Config:
        monkeypatch.setattr(sys, 'argv', ['train.py', str(tiny_config), *args])
        train = runpy.run_path(TRAIN)
        parsed = train['parse_args']()
        cfg = train['load_config'](parsed.config, parsed.cfg_options)
        train['apply_options'](cfg, parsed)
        return cfg

    return _options


@pytest.fixture
def error(monkeypatch, capsys):
    """The user error that train.py prints for these options."""

    def _error(*args) -> str:
        monkeypatch.setattr(sys, 'argv', ['train.py', *map(str, args)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(TRAIN, run_name='__main__')
        assert end.value.code not in (0, None)
        return f'{end.value.code}\n{capsys.readouterr().err}'

    return _error


def test_training_saves_a_checkpoint(checkpoint):
    assert torch.load(checkpoint)['meta']['iter'] == 2


def test_training_resumes(run, tiny_config, work_dir):
    done = run(
        'train.py',
        tiny_config,
        '--work-dir',
        work_dir,
        '--resume',
        '--cfg-options',
        'train_cfg.max_epochs=2',
    )
    assert done.returncode == 0, done.stderr
    assert 'resumed epoch: 1, iter: 2' in done.stdout + done.stderr
    assert torch.load(work_dir / 'epoch_2.pth')['meta']['iter'] == 4


def test_resume_from_a_file(options, checkpoint):
    cfg = options('--resume', str(checkpoint))
    assert cfg.resume and cfg.load_from == str(checkpoint)


def test_no_validate(options):
    cfg = options('--no-validate')
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None


def test_seed_wins_over_the_config(options):
    cfg = options(
        '--seed',
        '7',
        '--cfg-options',
        'randomness.seed=1',
        'randomness.deterministic=True',
    )
    assert cfg.randomness == dict(seed=7, deterministic=True)


def test_randomness(options):
    cfg = options('--deterministic', '--diff-rank-seed')
    assert cfg.randomness == dict(
        seed=None, deterministic=True, diff_rank_seed=True
    )


def test_auto_scale_lr(options):
    cfg = options(
        '--auto-scale-lr', '--cfg-options', 'auto_scale_lr.base_batch_size=64'
    )
    assert cfg.auto_scale_lr == dict(base_batch_size=64, enable=True)


def test_amp(options, monkeypatch):
    monkeypatch.setattr('ata_mm.cli.launch.get_device', lambda: 'cuda')
    wrapper = options('--amp').optim_wrapper
    assert wrapper.type == 'AmpOptimWrapper'
    assert wrapper.loss_scale == 'dynamic'
    scoped = '--cfg-options', 'optim_wrapper.type=mmengine.OptimWrapper'
    assert options('--amp', *scoped).optim_wrapper == wrapper


def test_a_config_without_an_optimizer_is_named(error, tiny_config):
    option = '--cfg-options', 'optim_wrapper=None'
    assert 'Expected an optim_wrapper in' in error(tiny_config, *option)


def test_missing_config_is_one_line(error):
    message = error('nowhere.py')
    assert message.startswith('train.py: error: ')
    assert 'config nowhere.py is not a file' in message.splitlines()[0]


def test_missing_checkpoint(error, tiny_config):
    assert 'x.pth is not a file' in error(tiny_config, '--resume', 'x.pth')


def test_a_folder_to_resume_from_is_named(error, tiny_config, tmp_path):
    message = error(tiny_config, '--resume', tmp_path)
    assert f'--work-dir {tmp_path} --resume' in message


def test_a_seed_that_numpy_refuses_is_named(error, tiny_config):
    option = '--cfg-options', 'randomness.seed=-5'
    assert 'seed in 0..2**32-1, got -5' in error(tiny_config, *option)


def test_auto_scale_lr_without_a_base(error, tiny_config):
    assert 'base_batch_size' in error(tiny_config, '--auto-scale-lr')


def test_option_without_a_value(error, tiny_config):
    message = error(tiny_config, '--cfg-options', 'train_cfg.max_epochs')
    assert "expected KEY=VALUE, got 'train_cfg.max_epochs'" in message


def test_wrong_annotation_is_found_before_training(
    error, tiny_config, tmp_path
):
    path = tmp_path / 'list.txt'
    path.write_text('0.mp4 0\n1.mp4 2\n')
    message = error(
        tiny_config,
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        f'train_dataloader.dataset.ann_file={path}',
    )
    assert message.startswith('train.py: error:') and str(path) in message
    assert not (tmp_path / 'work').exists()


@pytest.mark.parametrize(
    'option, complaint',
    [
        ('load_from={cut}', '{cut}, which cannot be read'),
        ('optim_wrapper.optimizer.lr=-1', 'Invalid learning rate'),
        ('train_dataloader.num_workers=-1', 'num_workers'),
        ('model.cls_head.num_clases=2', "argument 'num_clases'"),
        ('train_cfg.max_epoch=3', "argument 'max_epoch'"),
        ('model.backbone.type=ATAVit', 'ATAVit is not in the'),
        ('model.backbone.num_frames=8', 'Set num_frames'),
        ('default_hooks.checkpoint.intervl=1', 'Did you mean interval'),
    ],
)
def test_a_faulty_config_ends_in_one_line(
    run, tiny_config, checkpoint, tmp_path, option, complaint
):
    cut = tmp_path / 'cut.pth'
    cut.write_bytes(checkpoint.read_bytes()[:9000])
    done = run(
        'train.py',
        tiny_config,
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        'default_hooks.checkpoint.type=CheckpointHook',
        option.format(cut=cut),
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith('train.py: error: '), done.stderr
    assert complaint.format(cut=cut) in last
    assert 'Traceback' not in done.stderr + done.stdout


@pytest.fixture
def train_on(run, tiny_config, video_root, tmp_path):
    """Train on files of this folder and the good ones."""

    def train_on(*names, workers=0, loop='', **hook):
        good = [f'{video_root}/{i % 4}.mp4 {i % 2}' for i in range(8)]
        bad = [f'{tmp_path / name} 0' for name in names]
        (tmp_path / 'list.txt').write_text('\n'.join(good + bad) + '\n')
        options = [f'custom_hooks.0.{k}={v}' for k, v in hook.items()]
        (tmp_path / 'config.py').write_text(
            f'_base_ = {str(tiny_config)!r}\n'
            "custom_hooks = [dict(type='BadVideoHook')]\n"
            f'{loop}'
        )
        return run(
            'train.py',
            tmp_path / 'config.py',
            '--no-validate',
            '--work-dir',
            tmp_path / 'work',
            '--cfg-options',
            f'train_dataloader.dataset.ann_file={tmp_path}/list.txt',
            f'train_dataloader.num_workers={workers}',
            *options,
        )

    return train_on


@pytest.fixture
def bad_files(video_root, write_video, tmp_path):
    """Ten files of ten kinds that cannot be read."""

    def cut(name, **options):
        path = make_video(tmp_path / name, **options)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    (tmp_path / 'empty.mp4').touch()
    (tmp_path / 'junk.mp4').write_bytes(b'junk' * 100)
    (tmp_path / 'text.mp4').write_text('text')
    os.mkfifo(tmp_path / 'pipe.mp4')
    write_video(tmp_path / 'zero.mp4', num_frames=0)
    cv2.imwrite(str(tmp_path / 'image.png'), np.zeros((8, 8), np.uint8))
    cut('no_index.mp4')
    cut('cut.mkv')
    cut('cut.webm', codec='libvpx')
    cut('cut.avi', codec='mpeg4')
    return [
        'empty.mp4',
        'junk.mp4',
        'text.mp4',
        'pipe.mp4',
        'zero.mp4',
        'image.png',
        'no_index.mp4',
        'cut.mkv',
        'cut.webm',
        'cut.avi',
    ]


@pytest.mark.parametrize('workers', [0, 2])
def test_bad_videos_are_skipped_and_reported(train_on, bad_files, workers):
    done = train_on(*bad_files, workers=workers, limit=0.9)
    assert done.returncode == 0, done.stderr
    log = done.stdout + done.stderr
    report = log[log.rindex('10 videos were skipped') :]
    assert not [name for name in bad_files if name not in report]


@pytest.mark.parametrize('workers', [0, 2])
def test_too_many_bad_videos_end_the_training(train_on, bad_files, workers):
    done = train_on(*bad_files, workers=workers)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith('train.py: error: Expected at most 1 videos')
    assert 'Traceback' not in done.stdout + done.stderr


def test_short_videos_are_reported(train_on, write_video, tmp_path):
    write_video(tmp_path / 'short.mp4', num_frames=3)
    done = train_on('short.mp4')
    assert done.returncode == 0
    assert 'short.mp4 has 3 frames, fewer than the 7' in (
        done.stdout + done.stderr
    )


def test_training_by_iterations_skips_bad_videos(train_on, tmp_path):
    (tmp_path / 'empty.mp4').touch()
    loop = (
        "train_cfg = dict(type='IterBasedTrainLoop', max_iters=12, "
        '_delete_=True)'
    )
    done = train_on('empty.mp4', workers=2, loop=loop)
    assert done.returncode == 0, done.stderr
    assert '1 videos were skipped' in done.stdout + done.stderr


def test_a_config_without_the_hook_skips_bad_videos(
    run, tiny_config, video_root, tmp_path
):
    (tmp_path / 'empty.mp4').touch()
    lines = [f'{video_root}/{i}.mp4 {i % 2}\n' for i in range(4)]
    (tmp_path / 'list.txt').write_text(
        ''.join([*lines, f'{tmp_path}/empty.mp4 0\n'])
    )
    done = run(
        'train.py',
        tiny_config,
        '--no-validate',
        '--work-dir',
        tmp_path,
        '--cfg-options',
        f'train_dataloader.dataset.ann_file={tmp_path}/list.txt',
        'train_dataloader.batch_size=1',  # the last batch is kept
    )
    assert done.returncode == 0, done.stderr
    (log,) = tmp_path.glob('*/*.log')
    (note,) = (log.parent / 'bad_videos.jsonl').read_text().splitlines()
    assert json.loads(note)['video'].endswith('empty.mp4')


MULTI_LABEL = """
_base_ = {base!r}
labels = dict(multi_class=True, num_classes=2, ann_file={list!r})
model = dict(cls_head=dict(
    num_classes=2, multi_class=True, loss_cls=dict(type='BCELossWithLogits')))
inner = dict(_base_.dataset, pipeline=_base_.train_pipeline, **labels)
train_dataloader = dict(dataset=dict(
    _delete_=True, type='ClassBalancedDataset', oversample_thr=0.5,
    dataset=inner))
val_dataloader = test_dataloader = dict(dataset=labels)
val_evaluator = test_evaluator = dict(
    type='AccMetric', metric_list=('mean_average_precision',))
"""


def test_several_labels_are_trained_with_class_balanced_sampling(
    run, tiny_config, tmp_path
):
    file = tmp_path / 'list.txt'
    file.write_text('0.mp4 0 1\n1.mp4 1\n2.mp4 0\n3.mp4 1\n')
    config = tmp_path / 'multi_label.py'
    config.write_text(
        MULTI_LABEL.format(base=str(tiny_config), list=str(file))
    )
    done = run('train.py', config, '--work-dir', tmp_path / 'work')
    assert done.returncode == 0, done.stderr
    assert 'acc/mean_average_precision' in done.stdout + done.stderr
