# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""ATANeck in recipes of MMAction2, with the optimizer of each."""

import sys
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

RECIPES = dict(
    tsn='tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb',
    tsm='tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb',
    tin='tin/tin_imagenet-pretrained-r50_8xb6-1x1x8-40e_sthv2-rgb',
    trn='trn/trn_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb',
    tanet='tanet/tanet_imagenet-pretrained-r50_8xb8-dense-1x1x8-100e_'
    'kinetics400-rgb',
    c2d='c2d/c2d_r50-in1k-pre_8xb32-8x8x1-100e_kinetics400-rgb',
    i3d='i3d/i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb',
    slowonly='slowonly/slowonly_r50_8xb16-8x8x1-256e_kinetics400-rgb',
)
MVIT = 'mvit/mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb'

pytestmark = pytest.mark.filterwarnings('ignore:pkg_resources')


def load(tmp_path, recipe):
    path = tmp_path / 'recipe.py'
    path.write_text(f"_base_ = 'mmaction::recognition/{recipe}.py'\n")
    return Config.fromfile(path)


def train_step(cfg, frames=8):
    """One iteration of a recipe on two clips of noise; its loss."""
    model = MODELS.build(cfg.model).train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    trained = {id(p) for g in wrapper.param_groups for p in g['params']}
    assert {id(p) for p in model.neck.parameters()} <= trained
    size = (2, frames, 3, 32, 32)
    if 'Recognizer3D' in cfg.model.type:
        size = (2, 1, 3, frames, 32, 32)
    clips = torch.randint(0, 255, size, dtype=torch.uint8)
    samples = [ActionDataSample().set_gt_label(i) for i in range(2)]
    data = dict(inputs=list(clips), data_samples=samples)
    return model.train_step(data, wrapper)['loss']


@pytest.fixture
def tin_shift(monkeypatch):
    """The operator of TIN, which mmcv-lite lacks."""
    operators = SimpleNamespace(tin_shift=lambda x, shift: x)
    monkeypatch.setitem(sys.modules, 'mmcv.ops', operators)


@pytest.mark.parametrize('family', RECIPES)
def test_a_recipe_trains_with_the_neck(tmp_path, tin_shift, family):
    cfg = load(tmp_path, RECIPES[family])
    channels = 512
    if family not in ('tanet', 'c2d', 'i3d'):  # have bottlenecks only
        cfg.model.backbone.depth = 18
        cfg.model.cls_head.in_channels = channels
    else:
        channels = 2048
    cfg.model.backbone.update(pretrained=None)
    cfg.model.backbone.pop('pretrained2d', None)
    segments = 8 if cfg.model.type == 'Recognizer2D' else None
    cfg.model.neck = dict(
        type='ATANeck', embed_dims=channels, num_segments=segments
    )
    assert train_step(cfg).isfinite()


def test_a_backbone_without_feature_maps_is_named(tmp_path):
    cfg = load(tmp_path, MVIT)
    cfg.model.backbone.update(spatial_size=32, temporal_size=8, arch='tiny')
    cfg.model.neck = dict(type='ATANeck', embed_dims=768)
    with pytest.raises(ValueError, match='got list.* remove the neck'):
        train_step(cfg)
