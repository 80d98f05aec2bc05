# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""A small version of a recipe of each family, on a handful of videos laid out
as Kinetics-400."""

from functools import cache
from pathlib import Path

import pytest

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
STAGES = (
    'arch._delete_=True',
    'arch.depths=[1,1,1,1]',
    'arch.channels=[8,8,16,16]',
    'head_dims=4',
)
SMALL = dict(
    ata_vit_k400=('num_layers=1', 'embed_dims=16', 'num_heads=2'),
    ata_convnext_k400=STAGES,
    ata_cyclemlp_ssv2=STAGES,
)
# Stage 1 has 24 x 24 patches, more than are matched exactly.
SIZE = 96
TEST = 'test_dataloader.dataset.pipeline'


@pytest.fixture(scope='module')
def options(write_video, tmp_path_factory):
    """Small frames and few videos for a recipe, by --cfg-options."""
    root = tmp_path_factory.mktemp('kinetics400')
    words = [
        f'model.backbone.img_size={SIZE}',
        'model.backbone.pretrained=None',
        'model.cls_head.in_channels=16',
        'train_cfg.max_epochs=1',
    ]
    for split, loaders in (('train', ['train']), ('val', ['val', 'test'])):
        lines = []
        for label, name in enumerate(['abseiling', 'zumba']):
            folder = root / f'videos_{split}' / name
            folder.mkdir(parents=True)
            write_video(folder / 'a.mp4', num_frames=40, seed=label)
            lines.append(f'{name}/a.mp4 {label}\n')
        (root / f'{split}.txt').write_text(''.join(lines))
        for loader in loaders:
            dataset = f'{loader}_dataloader.dataset'
            size = 'size' if loader == 'train' else 'crop_size'
            words += [
                f'{dataset}.ann_file={root}/{split}.txt',
                f'{dataset}.data_prefix.video={root}/videos_{split}',
                f'{dataset}.pipeline.4.{size}={SIZE}',
                f'{loader}_dataloader.num_workers=0',
                f'{loader}_dataloader.batch_size=1',
            ]
    words += [
        f'train_dataloader.dataset.pipeline.3.scale_range=({SIZE},{SIZE + 8})',
        f'val_dataloader.dataset.pipeline.3.scale=(-1,{SIZE})',
        f'{TEST}.3.scale=(-1,{SIZE})',
    ]
    return ['--cfg-options', *words]


@pytest.fixture(scope='module')
def train(run, options, tmp_path_factory):
    """Train a recipe for an epoch.

    Returns its checkpoint, its output and the options to test it.
    """

    @cache
    def _train(name):
        work_dir = tmp_path_factory.mktemp(name)
        small = options + [f'model.backbone.{word}' for word in SMALL[name]]
        config = CONFIGS / f'{name}.py'
        done = run('train.py', config, '--work-dir', work_dir, *small)
        assert done.returncode == 0, done.stderr
        return work_dir / 'epoch_1.pth', done.stdout + done.stderr, small

    return _train


@pytest.mark.parametrize('name', SMALL)
def test_trains_two_iterations(train, name):
    _, said, _ = train(name)
    assert 'Epoch(train) [1][2/2]' in said
    assert 'Epoch(val) [1][2/2]' in said


def test_tests_twelve_views_of_two_videos_at_once(run, train, tmp_path):
    checkpoint, _, small = train('ata_vit_k400')
    done = run(
        'test.py',
        CONFIGS / 'ata_vit_k400.py',
        checkpoint,
        '--work-dir',
        tmp_path,
        *small,
        'test_dataloader.batch_size=2',
        f'{TEST}.1.num_clips=4',
    )
    assert done.returncode == 0, done.stderr
    assert 'acc/top1' in done.stdout + done.stderr
