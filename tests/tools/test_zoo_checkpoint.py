# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""A TimeSformer of MMAction2's zoo, fine-tuned on one's own five classes."""

import pytest
import torch
from mmaction.models import TimeSformer
from mmengine.registry import init_default_scope

LAYER = 'backbone.transformer_layers.layers.1.'


@pytest.fixture(scope='module')
def zoo():
    """A state_dict of the zoo, for 400 classes and 8 frames."""
    init_default_scope('mmaction')
    backbone = TimeSformer(
        num_frames=8,
        img_size=32,
        patch_size=16,
        embed_dims=24,
        num_heads=2,
        num_transformer_layers=2,
    ).state_dict()
    state = {f'backbone.{key}': value for key, value in backbone.items()}
    head = torch.nn.Linear(24, 400).state_dict()
    return {**state, **{f'cls_head.fc_cls.{k}': v for k, v in head.items()}}


@pytest.fixture(scope='module')
def finetuned(run, tiny_config, video_root, zoo, tmp_path_factory):
    """The process of two iterations from there, and its checkpoint."""
    path = tmp_path_factory.mktemp('finetune')
    torch.save(dict(state_dict=zoo, meta={}), path / 'zoo.pth')
    (path / 'five.txt').write_text('0.mp4 0\n1.mp4 1\n2.mp4 2\n3.mp4 4\n')
    done = run(
        'train.py',
        tiny_config,
        '--work-dir',
        path,
        '--no-validate',
        '--cfg-options',
        f'load_from={path}/zoo.pth',
        'model.cls_head.num_classes=5',
        f'train_dataloader.dataset.ann_file={path}/five.txt',
        'optim_wrapper.optimizer.lr=1e-5',
    )
    assert done.returncode == 0, done.stderr
    return done, torch.load(path / 'epoch_1.pth')


def test_trains_two_iterations(finetuned):
    assert finetuned[1]['meta']['iter'] == 2


@pytest.mark.parametrize(
    'theirs, ours',
    [('attentions.0', 'temporal.attn'), ('attentions.1', 'attn')],
)
def test_backbone_is_that_of_the_file(finetuned, zoo, theirs, ours):
    weight = finetuned[1]['state_dict'][f'backbone.blocks.1.{ours}.qkv.weight']
    torch.testing.assert_close(
        weight, zoo[f'{LAYER}{theirs}.attn.in_proj_weight'], rtol=0, atol=1e-3
    )


def test_classifier_is_new(finetuned, zoo):
    weight = finetuned[1]['state_dict']['cls_head.fc_cls.weight']
    assert weight.shape == (5, 24)
    assert (weight - zoo['cls_head.fc_cls.weight'][:5]).abs().max() > 0.01


@pytest.mark.parametrize(
    'line', ['1 interpolated: time_embed', 'size mismatch for cls_head.fc_cls']
)
def test_log_says_so(finetuned, line):
    assert line in finetuned[0].stdout + finetuned[0].stderr
