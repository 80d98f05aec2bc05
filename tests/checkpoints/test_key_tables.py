# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.models import ResNet, TimeSformer
from torch import nn

from ata_mm.checkpoints import load_pretrained
from ata_mm.checkpoints.heads import split_head
from ata_mm.checkpoints.key_layouts import find_key_layout, rename
from ata_mm.checkpoints.key_tables import (
    CONVNEXT,
    CYCLEMLP,
    FAMILIES,
    IMAGE,
    TIMESFORMER,
    find_family,
)
from ata_mm.models.backbones.convnext import ConvNeXt
from ata_mm.models.backbones.cyclemlp import CycleMLP
from tests.checkpoints import toys
from tests.checkpoints.toys import (
    ARCH,
    SIZES,
    Video,
    assert_equal,
    randomized,
    timesformer,
)


@pytest.mark.parametrize(
    'build, family',
    [
        (timesformer, TIMESFORMER),
        (lambda: Video(ConvNeXt(ARCH)), CONVNEXT),
        (lambda: Video(CycleMLP(ARCH)), CYCLEMLP),
        (lambda: Video(ResNet(18)), IMAGE),
    ],
)
def test_family_of_a_backbone(build, family):
    assert find_family(build()) is family


def test_other_backbones_are_an_error():
    with pytest.raises(ValueError, match='got ResNet .*conv1.conv.weight'):
        find_family(ResNet(18))


@pytest.mark.parametrize(
    'source, name',
    [
        (toys.official, 'TimeSformer (official)'),
        (toys.huggingface, 'TimeSformer (HuggingFace)'),
        (toys.image_vit, 'image ViT (timm)'),
        (toys.huggingface_vit, 'image ViT (HuggingFace)'),
        (toys.mmpretrain_vit, 'image ViT (mmpretrain)'),
        (lambda: timesformer().state_dict(), 'ata_mm'),
        (lambda: mmaction('divided_space_time'), 'TimeSformer (mmaction2)'),
        (lambda: mmaction('space_only'), 'image ViT (mmaction2)'),
    ],
)
def test_layout_of_a_vit(source, name):
    keys, _ = split_head(source())
    assert find_key_layout(keys, TIMESFORMER.layouts).name == name


def mmaction(attention_type):
    peer = TimeSformer(
        **SIZES, num_transformer_layers=2, attention_type=attention_type
    )
    return peer.state_dict()


def test_unknown_keys_are_an_error_that_lists_the_layouts():
    with pytest.raises(ValueError, match=r'\(official\).*conv1.weight'):
        find_key_layout(['conv1.weight'], TIMESFORMER.layouts)


@pytest.mark.parametrize(
    'layout', TIMESFORMER.layouts, ids=lambda layout: layout.name
)
def test_our_names_stay(layout):
    state = timesformer().state_dict()
    assert rename(state, layout).keys() == state.keys()


@pytest.mark.parametrize('family', FAMILIES[1:])
def test_our_names_of_image_models_stay(family):
    keys = dict.fromkeys(['image.norm.weight', 'image.stages.0.0.gamma'])
    for layout in family.layouts:
        assert rename(keys, layout).keys() == keys.keys()


def test_renaming_twice_changes_nothing():
    keys, _ = split_head(toys.official())
    once = rename(keys, TIMESFORMER.layouts[0])
    assert once.keys() == rename(once, TIMESFORMER.layouts[0]).keys()
    assert 'blocks.1.temporal.attn.qkv.weight' in once


def test_official_weights_land_where_they_belong():
    model, source = timesformer(), toys.official()
    report = load_pretrained(model, {'model_state': source})
    assert report.layout == 'TimeSformer (official)'
    loaded = model.state_dict()
    assert torch.equal(
        loaded['blocks.1.temporal.attn.qkv.weight'],
        source['model.blocks.1.temporal_attn.qkv.weight'],
    )
    assert torch.equal(
        loaded['blocks.1.temporal.norm.bias'],
        source['model.blocks.1.temporal_norm1.bias'],
    )
    assert torch.equal(
        loaded['blocks.0.attn.qkv.weight'],
        source['model.blocks.0.attn.qkv.weight'],
    )


def test_huggingface_weights_land_where_they_belong():
    model, source = toys.recognizer(), toys.huggingface()
    report = load_pretrained(model, source)
    assert report.layout == 'TimeSformer (HuggingFace)'
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, source[toys.huggingface_key(key)])
    assert torch.equal(model.cls_head.fc_cls.bias, source['classifier.bias'])


def test_huggingface_model_without_a_classifier():
    source = {
        k[len('timesformer.') :]: v
        for k, v in toys.huggingface().items()
        if not k.startswith('classifier.')
    }
    model = timesformer()
    load_pretrained(model, source)
    assert torch.equal(model.norm.weight, source['layernorm.weight'])


@pytest.mark.parametrize('names', [(), toys.TRANSFORMERS_5])
def test_weights_of_a_huggingface_vit_land_where_they_belong(names):
    model, source = timesformer(), toys.huggingface_vit(names)
    report = load_pretrained(model, source)
    assert report.dropped == ['pooler.dense.weight']
    keys, _ = split_head(source)
    pattern = 'v_proj' if names else 'value'
    values = [keys[key] for key in keys if f'{pattern}.weight' in key]
    assert torch.equal(model.blocks[1].attn.qkv.weight[48:], values[1])
    assert torch.equal(
        model.blocks[1].temporal.attn.qkv.weight[48:], values[1]
    )


def test_a_vit_without_biases_of_keys_is_not_joined():  # BEiT
    source = toys.huggingface_vit()
    for block in range(2):
        name = f'vit.encoder.layer.{block}.attention.attention.key.bias'
        del source[name]
    with pytest.raises(ValueError, match='attn.query.bias'):
        load_pretrained(timesformer(), source)


def test_image_weights_in_keys_of_mmaction2():
    source, model = mmaction('space_only'), timesformer()
    report = load_pretrained(model, source)
    assert report.layout == 'image ViT (mmaction2)'
    layer = 'transformer_layers.layers.1.attentions.0.attn.in_proj_weight'
    assert torch.equal(model.blocks[1].temporal.attn.qkv.weight, source[layer])


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
@pytest.mark.parametrize('code', toys.CONVNEXT)
def test_convnext_weights_land_where_they_belong(code, prefix):
    source, state = toys.convnext(code)
    model = Video(ConvNeXt(ARCH, final_norm=True))
    report = load_pretrained(model, {prefix + k: v for k, v in source.items()})
    assert report.layout == f'ConvNeXt ({code})'
    assert_equal(model.image, state)


@pytest.mark.parametrize('with_offsets', [True, False])
def test_cyclemlp_weights_land_where_they_belong(with_offsets):
    state = CycleMLP(ARCH).state_dict()
    offsets = {k: v for k, v in state.items() if 'offset' in k}
    source = randomized({k: v for k, v in state.items() if k not in offsets})
    if with_offsets:
        source.update(offsets)
    head = {'head.weight': torch.ones(9, 16), 'head.bias': torch.ones(9)}
    model = Video(CycleMLP(ARCH))
    report = load_pretrained(model, {'model': {**source, **head}})
    assert report.layout == 'CycleMLP (official)'
    assert report.dropped == ['head.weight', 'head.bias']
    assert torch.equal(
        model.image.network[2][1].attn.sfc_w.weight,
        source['network.2.1.attn.sfc_w.weight'],
    )


def test_model_in_its_own_keys():
    source = randomized(ResNet(18).state_dict())
    model = Video(ResNet(18))
    head = {'fc.weight': torch.ones(10, 512), 'fc.bias': torch.ones(10)}
    report = load_pretrained(model, {**source, **head})
    assert report.dropped == ['fc.weight', 'fc.bias']
    assert_equal(model.image, source)


def test_our_image_model_alone():
    _, state = toys.convnext()
    model = Video(ConvNeXt(ARCH, final_norm=True))
    source = {f'image.{k}': v for k, v in state.items()}
    report = load_pretrained(model, source)
    assert report.layout == 'image model (ata_mm)'
    assert_equal(model.image, state)


def test_our_own_checkpoint_is_loaded_whole():
    model = Video(ConvNeXt(ARCH))
    source = randomized(model.state_dict())
    report = load_pretrained(
        model, {f'backbone.{k}': source[k] for k in source}
    )
    assert report.layout == 'ata_mm' and len(report.loaded) == len(source)
    assert_equal(model, source)


def test_another_model_is_an_error():
    with pytest.raises(
        ValueError, match=r'CycleMLP \(official\).*downsample_layers'
    ):
        load_pretrained(Video(CycleMLP(ARCH)), toys.convnext()[0])


def test_a_model_without_parameters_has_no_family():
    with pytest.raises(ValueError, match='got Identity'):
        find_family(nn.Identity())
