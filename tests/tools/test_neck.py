# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The recipe of ATANeck on a handful of videos."""

from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config

CONFIG = (
    Path(__file__).resolve().parents[2] / 'configs/ata_neck_tsn_r50_k400.py'
)
SMALL = (
    'backbone.depth=18',
    'backbone.pretrained=None',
    'neck.embed_dims=512',
    'cls_head.in_channels=512',
    'cls_head.num_classes=2',
)
TEST = 'test_dataloader.dataset.pipeline'

pytestmark = pytest.mark.filterwarnings('ignore:pkg_resources')


@pytest.fixture(scope='module')
def options(video_root):
    """Small parts for the recipe, by --cfg-options."""
    words = [f'model.{part}' for part in SMALL] + ['train_cfg.max_epochs=1']
    for loader in ('train', 'val', 'test'):
        loader = f'{loader}_dataloader'
        words += [
            f'{loader}.dataset.ann_file={video_root}/list.txt',
            f'{loader}.dataset.data_prefix.video={video_root}',
            f'{loader}.dataset.pipeline.3.scale=(-1,64)',
            f'{loader}.batch_size=2',
            f'{loader}.num_workers=0',
        ]
    words += [
        'train_dataloader.dataset.pipeline.4.input_size=64',
        'train_dataloader.dataset.pipeline.5.scale=(64,64)',
        'val_dataloader.dataset.pipeline.4.crop_size=64',
        f'{TEST}.4.crop_size=64',
    ]
    return ['--cfg-options', *words]


@pytest.fixture(scope='module')
def trained(run, options, tmp_path_factory):
    """The checkpoint of an epoch of two iterations."""
    path = tmp_path_factory.mktemp('neck')
    done = run('train.py', CONFIG, '--work-dir', path, *options)
    assert done.returncode == 0, done.stderr
    assert 'Epoch(train) [1][2/2]' in done.stdout + done.stderr
    return path / 'epoch_1.pth'


def test_is_tsn_and_a_neck():
    cfg = Config.fromfile(CONFIG).model
    with torch.device('meta'):
        model = MODELS.build(cfg)
        cfg.pop('neck')
        plain = MODELS.build(cfg)
    names = {k for k, _ in model.named_parameters()}
    own = {k for k in names if k.startswith('neck.')}
    assert own and names - own == {k for k, _ in plain.named_parameters()}


def test_all_loaders_deliver_the_clips_of_the_neck():
    cfg = Config.fromfile(CONFIG)
    for loader in ('train', 'val', 'test'):
        sample = cfg[f'{loader}_dataloader'].dataset.pipeline[1]
        assert sample.num_clips == cfg.model.neck.num_segments


@pytest.mark.parametrize(
    'views',
    [(), (f'{TEST}.1.twice_sample=True', f'{TEST}.4.type=ThreeCrop')],
    ids=['ten crops', 'three crops of two samples'],
)
def test_tests_many_views(run, options, trained, tmp_path, views):
    done = run(
        'test.py', CONFIG, trained, '--work-dir', tmp_path, *options, *views
    )
    assert done.returncode == 0, done.stderr
    assert 'acc/top1' in done.stdout + done.stderr
