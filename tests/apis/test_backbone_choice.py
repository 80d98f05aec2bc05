# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from pathlib import Path

import ata_mm

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ata_mm.apis.backbone_choice import (
    Wanted,
    backbone_names,
    choose_backbone,
)
from ata_mm.models import TemporalAttention

BASES = Path(ata_mm.__file__).parent / '.mim/configs/_base_/models'
OWN = ['ATATimeSformer-micro', 'ATATimeSformer-tiny', 'ATACycleMLP-b1']


def build(choice):
    """The recognizer of a choice, on the meta device."""
    init_default_scope('mmaction')
    cfg = Config(dict(model={}))
    for base in choice.bases:
        cfg = Config.fromfile(BASES / f'{base}.py')
    cfg.merge_from_dict(dict(model=choice.model))
    with torch.device('meta'):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize('name', OWN)
@pytest.mark.parametrize('temporal', ['ATA', 'TemporalAttention'])
def test_models_of_ours_are_built(name, temporal):
    choice = choose_backbone(name, Wanted(3, 4, temporal, 'none'))
    model = build(choice)
    assert model.backbone.num_frames == 4
    assert model.cls_head.num_classes == 3
    kinds = {type(m).__name__ for m in model.modules()}
    assert ('ATA' in kinds) == (temporal == 'ATA')
    assert any(isinstance(m, TemporalAttention) for m in model.modules())


@pytest.mark.parametrize(
    'size, matching',
    [
        (224, 'matched exactly'),
        (448, 'exactly, above 400 nearly optimally on a GPU'),
        (512, 'exactly, above 400 nearly optimally on a GPU'),
        (528, 'nearly optimally'),
    ],
)
def test_says_how_the_largest_maps_are_matched(size, matching):
    pytest.importorskip('timm')
    name = 'timm.deit_tiny_patch16_224'
    wanted = Wanted(5, checkpoint='none', img_size=size)
    comments = choose_backbone(name, wanted).comments
    assert matching in comments['backbone.blocks']


def test_a_vit_of_ata_mm_is_built_for_the_size_of_the_frames():
    choice = choose_backbone('ATATimeSformer-tiny', Wanted(5, img_size=64))
    assert choice.size == choice.model['backbone']['img_size'] == 64


@pytest.mark.parametrize(
    'name, size, patch', [('micro', 50, 4), ('base', 200, 16)]
)
def test_frames_are_of_whole_patches(name, size, patch):
    with pytest.raises(ValueError, match=f'a multiple of {patch}.*got {size}'):
        choose_backbone(f'ATATimeSformer-{name}', Wanted(5, img_size=size))


def test_wraps_an_image_model():
    pytest.importorskip('timm')
    choice = choose_backbone('tf_efficientnet_lite0', Wanted(5))
    assert choice.name == 'timm.tf_efficientnet_lite0'
    backbone = choice.model['backbone']
    assert backbone['head_dims'] == 8
    assert backbone['blocks'][:2] == ['blocks.2.1', 'blocks.3.*']
    assert choice.model['data_preprocessor']['mean'] == [127.5] * 3
    assert '3136, 12544 left out' in choice.comments['backbone.blocks']
    assert choice.model['cls_head']['in_channels'] == 1280


def test_smaller_frames_have_smaller_maps():
    pytest.importorskip('timm')
    choice = choose_backbone('timm.resnet18', Wanted(5, img_size=64))
    assert choice.size == 64
    assert choice.model['backbone']['blocks'] == 'layer*.*'


@pytest.mark.parametrize('temporal', ['ATA', 'TemporalAttention'])
@pytest.mark.parametrize(
    'name', ['ATAConvNeXt-tiny', 'ATACycleMLP-b1', 'timm.resnet18']
)
def test_models_without_a_time_embedding_see_the_order(name, temporal):
    if name.startswith('timm'):
        pytest.importorskip('timm')
    wanted = Wanted(3, 4, temporal, 'none', img_size=64)
    model = build(choose_backbone(name, wanted))
    for module in model.backbone.temporal:
        assert module.route_encoding and module.time_bias is not None


def test_an_encoding_of_routes_needs_channels_in_eighths():
    pytest.importorskip('timm')
    choice = choose_backbone(
        'timm.rexnet_100', Wanted(5, img_size=64, checkpoint='none')
    )
    assert 'route_encoding' not in choice.model['backbone']['temporal']
    assert build(choice)


@pytest.mark.parametrize(
    'name, key',
    [
        ('timm.vit_tiny_patch16_224', 'img_size'),
        ('torchvision.vit_b_32', 'image_size'),
    ],
)
def test_a_model_of_one_size_is_built_for_that_of_the_frames(name, key):
    pytest.importorskip(name.split('.')[0])
    choice = choose_backbone(name, Wanted(5, img_size=96, checkpoint='none'))
    assert choice.model['backbone']['image_backbone'][key] == 96
    assert build(choice)


def test_blocks_may_be_given():
    pytest.importorskip('timm')
    choice = choose_backbone('timm.resnet18', Wanted(5, blocks='layer4.*'))
    assert choice.model['backbone']['blocks'] == 'layer4.*'


def test_weights_are_published_given_or_none(tmp_path):
    name = 'ATAConvNeXt-tiny'
    published = choose_backbone(name, Wanted(5)).pretrained
    assert published.endswith('convnext_tiny_22k_224.pth')
    assert (
        choose_backbone(name, Wanted(5, checkpoint='none')).pretrained is None
    )
    given = choose_backbone(name, Wanted(5, checkpoint='x.pth')).pretrained
    assert given.endswith('/x.pth') and given != 'x.pth'


@pytest.mark.parametrize(
    'name, near',
    [
        ('ATATimeSformer-bse', 'ATATimeSformer-base'),
        ('ataconvnextt-tiny', 'ATAConvNeXt-tiny'),
    ],
)
def test_the_nearest_names_are_told(name, near):
    with pytest.raises(ValueError, match=f'nearest are .*{near}'):
        choose_backbone(name, Wanted(5))


def test_names_begin_with_ours():
    assert backbone_names()[0] == 'ATATimeSformer-micro'


def test_maps_as_high_as_deep_have_the_layout_of_the_others():
    pytest.importorskip('timm')
    # The first stage has 64 channels of 64 x 64 patches.
    choice = choose_backbone('timm.resnet18', Wanted(5, img_size=256))
    assert choice.model['backbone']['layout'] == 'NCHW'
