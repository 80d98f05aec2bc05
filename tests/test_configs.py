# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

CONFIGS = sorted(
    (Path(__file__).resolve().parents[1] / 'configs').glob('*_vit_*.py'))
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def cfg(request):
    cfg = Config.fromfile(request.param)
    init_default_scope(cfg.default_scope)
    return cfg


def build(cfg):
    with torch.device('meta'):
        return MODELS.build(cfg.model)


def test_model_is_built(cfg):
    model = build(cfg)
    assert model.backbone.num_frames == cfg.model.backbone.num_frames


@pytest.mark.parametrize('loader', LOADERS)
def test_pipelines_deliver_the_clips_of_the_model(cfg, loader):
    steps = {step.type: step for step in cfg[loader].dataset.pipeline}
    backbone = cfg.model.backbone
    assert steps['SampleFrames'].clip_len == backbone.num_frames
    crop = [step for name, step in steps.items() if 'Crop' in name][-1]
    assert backbone.img_size in (crop.get('size'), crop.get('crop_size'))


def test_class_token_and_embeddings_do_not_decay(cfg):
    model = build(cfg)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    decay = {
        id(parameter): group['weight_decay']
        for group in optimizer.param_groups
        for parameter in group['params']
    }
    backbone = model.backbone
    free = [backbone.cls_token, backbone.pos_embed, backbone.time_embed]
    assert not any(decay[id(p)] for p in free if p is not None)
    assert decay[id(backbone.patch_embed.proj.weight)] > 0


def test_testing_has_three_crops(cfg):
    steps = [step.type for step in cfg.test_dataloader.dataset.pipeline]
    assert 'ThreeCrop' in steps


@pytest.mark.parametrize('twin', ['attention', 'averaging'])
def test_twins_differ_in_the_temporal_module_alone(twin):
    paths = {path.stem: path for path in CONFIGS}
    ours, other = (
        Config.fromfile(paths[f'{name}_vit_camera_motion']).to_dict()
        for name in ('ata', twin))
    kind = [
        c['model']['backbone'].pop('temporal')['type'] for c in (ours, other)
    ]
    assert ours == other
    assert kind[0] == 'ATA' != kind[1]


MMACTION = '''
_base_ = 'mmaction::recognition/timesformer/timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb.py'
custom_imports = dict(imports='ata_mm')
model = dict(backbone=dict(_delete_=True, type='ATATimeSformer', num_frames=8))
'''  # noqa: E501


@pytest.mark.filterwarnings('ignore:pkg_resources')
def test_three_lines_equip_a_recipe_of_mmaction2(tmp_path):
    (tmp_path / 'mine.py').write_text(MMACTION)
    cfg = Config.fromfile(tmp_path / 'mine.py')
    init_default_scope(cfg.default_scope)
    assert type(build(cfg).backbone).__name__ == 'ATATimeSformer'
