# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Checkpoints of ata_mm in models of another grid or clip length."""

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import get_state_dict, save_checkpoint

from ata_mm.checkpoints import (
    convert_checkpoint,
    load_pretrained,
    read_checkpoint,
)
from ata_mm.checkpoints.loading import name_as_recognizer


def build(img_size, num_frames=4):
    """A recognizer whose position embedding is its row."""
    backbone = dict(
        type='ATATimeSformer',
        num_frames=num_frames,
        img_size=img_size,
        patch_size=8,
        embed_dims=8,
        num_heads=2,
        num_layers=1,
        temporal=dict(type='ATA', time_bias_slopes=(1.0,)),
    )
    head = dict(type='TimeSformerHead', num_classes=2, in_channels=8)
    model = MODELS.build(
        dict(type='Recognizer3D', backbone=backbone, cls_head=head)
    )
    height, width = model.backbone.grid
    rows = torch.arange(float(height)).repeat_interleave(width)
    model.backbone.pos_embed.data[0, 1:] = rows[:, None]
    return model


def rows(model):
    """The first row and the first column of a position embedding."""
    plane = model.backbone.pos_embed[0, 1:, 0].view(model.backbone.grid)
    return plane[:, 0].tolist(), plane[0].tolist()


@pytest.fixture
def wide(tmp_path):
    """The checkpoint of a model of 4 x 9 patches, as a runner saves it."""
    path = tmp_path / 'wide.pth'
    model = build((32, 72))
    save_checkpoint(dict(state_dict=get_state_dict(model), meta={}), str(path))
    return str(path)


@pytest.fixture(params=['load_from', 'load_pretrained', 'converted'])
def loaded(request, wide, tmp_path):
    """A model of 6 x 6 patches with the weights of that checkpoint."""
    model = build((48, 48))
    if request.param == 'load_from':
        load_checkpoint(model, wide, strict=True)
    elif request.param == 'load_pretrained':
        load_pretrained(model, wide)
    else:
        keys, _ = convert_checkpoint(wide, build((32, 72)))
        torch.save(dict(state_dict=keys), tmp_path / 'converted.pth')
        load_checkpoint(model, str(tmp_path / 'converted.pth'), strict=True)
    return model


@pytest.mark.parametrize(
    'wrap', [torch.optim.swa_utils.AveragedModel, torch.compile]
)
@pytest.mark.parametrize('load', [load_checkpoint, load_pretrained])
def test_wrappers_keep_the_grid(load, wrap, wide, tmp_path):
    path = str(tmp_path / 'wrapped.pth')
    torch.save(wrap(build((32, 72))).state_dict(), path)
    model, plain = build((48, 48)), build((48, 48))
    if load is load_checkpoint and wrap is torch.compile:
        keys = name_as_recognizer(read_checkpoint(path), model)
        model.load_state_dict(keys)
    else:
        load(model, path)
    load_pretrained(plain, wide)
    assert rows(model) == rows(plain)


def test_a_prefix_of_init_cfg_keeps_the_grid(wide):
    model, plain = build((48, 48)), build((48, 48))
    model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint=wide, prefix='backbone.'
    )
    model.backbone.init_weights()
    load_pretrained(plain, wide)
    assert rows(model) == rows(plain)


def test_as_many_patches_in_another_grid_are_interpolated(loaded):
    down, across = rows(loaded)
    assert down == sorted(set(down))  # still one value for each row
    assert max(across) - min(across) < 1e-5


def test_keys_are_converted_for_a_model_of_as_many_patches(wide):
    keys, _ = convert_checkpoint(wide, build((48, 48)))
    plane = keys['backbone.pos_embed'][0, 1:, 0].view(6, 6)
    assert (plane.diff(dim=0) > 0).all()
    torch.testing.assert_close(plane, plane[:, :1].expand(6, 6))


def test_the_same_grid_is_loaded_unchanged(wide):
    model = build((32, 72))
    model.backbone.pos_embed.data.zero_()
    load_checkpoint(model, wide, strict=True)
    assert rows(model)[0] == [0, 1, 2, 3]


def test_a_checkpoint_without_its_grid_is_loaded_as_before(wide, tmp_path):
    old = torch.load(wide)
    del old['state_dict']._metadata
    torch.save(old, tmp_path / 'old.pth')
    model = build((32, 72))
    load_checkpoint(model, str(tmp_path / 'old.pth'), strict=True)
    assert rows(model)[0] == [0, 1, 2, 3]


@pytest.mark.parametrize('frames', [2, 8])
def test_time_embedding_and_bias_fit_another_clip_length(wide, frames):
    model = build((32, 72), frames)
    load_checkpoint(model, wide, strict=True)
    bias = model.backbone.blocks[0].temporal.time_bias
    assert bias.shape == (2, 2 * frames - 1)
    assert model.backbone.time_embed.shape == (1, frames, 8)


def test_no_key_is_added():
    assert not [key for key in build((32, 72)).state_dict() if 'grid' in key]
