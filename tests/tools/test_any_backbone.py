# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import re

import pytest
import torch

CONFIG = """
_base_ = {base!r}
model = dict(
    backbone=dict(
        _delete_=True,
        type='ATABackbone',
        image_backbone=dict(type='ResNet', depth=18, out_indices=(2, )),
        blocks='layer[123].*',
        num_frames=4,
        img_size=32),
    cls_head=dict(
        _delete_=True, type='I3DHead', num_classes=2, in_channels=256,
        average_clips='prob'))
train_dataloader = dict(batch_size=1)
"""


@pytest.fixture
def config(tiny_config, tmp_path):
    path = tmp_path / 'wrapped.py'
    path.write_text(CONFIG.format(base=str(tiny_config)))
    return path


def test_distributed_training_and_testing_in_three_views(
    run, config, tmp_path
):
    # Two steps a process: DistributedDataParallel stops at the second if a
    # parameter, as those of the unused layer4, waits for a gradient.
    done = run('dist_train.sh', config, 2, '--work-dir', tmp_path)
    assert done.returncode == 0, done.stderr
    checkpoint = torch.load(tmp_path / 'epoch_1.pth')
    assert checkpoint['meta']['iter'] == 2
    done = run(
        'test.py', config, tmp_path / 'epoch_1.pth', '--work-dir', tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r'acc/top1: \d', done.stdout + done.stderr)
