# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.models import ResNet
from torch import nn

from ata_mm.checkpoints import (
    adapt_state_dict,
    convert_checkpoint,
    load_pretrained,
)
from ata_mm.checkpoints.embeddings import resize_pos_embed
from ata_mm.models.backbones.convnext import ConvNeXt
from ata_mm.models.backbones.cyclemlp import CycleMLP
from ata_mm.models.temporal import TemporalAttention
from tests.checkpoints.test_loading import randomized

ARCH = dict(depths=[1, 2], channels=[8, 16])
NAMES = dict(
    official=dict(head='head'),
    mmpretrain=dict(
        dwconv='depthwise_conv',
        pwconv1='pointwise_conv1',
        pwconv2='pointwise_conv2',
        norm='norm3',
        head='head.fc'),
    timm=dict(
        stem='stem',
        downsample='stages.1.downsample',
        block='stages.{}.blocks.{}',
        dwconv='conv_dw',
        pwconv1='mlp.fc1',
        pwconv2='mlp.fc2',
        norm='head.norm',
        head='head.fc'))


class Video(nn.Module):
    """What loading sees of an ATABackbone."""

    def __init__(self, image, zero_init=True):
        super().__init__()
        self.image = image
        self.temporal = nn.ModuleList(
            [TemporalAttention(8, 2, zero_init=zero_init)])

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        adapt_state_dict(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def convnext_key(key, code):
    """The name of one of our parameters in another code base."""
    names, parts = NAMES[code], key.split('.')
    if parts[0] == 'norm':
        parts[0] = names.get('norm', 'norm')
    elif parts[0] == 'downsample_layers':
        name = 'stem' if parts[1] == '0' else 'downsample'
        parts[:2] = [names.get(name, '.'.join(parts[:2]))]
    else:
        layer = parts[3] if parts[3] == 'norm' else names.get(
            parts[3], parts[3])
        block = names.get('block', 'stages.{}.{}').format(*parts[1:3])
        parts = [block, layer, *parts[4:]]
    return '.'.join(parts)


def convnext(code='official', num_classes=10):
    """A checkpoint of a classifier with the keys of a code base, and the same
    parameters by our names."""
    state = randomized(ConvNeXt(ARCH, final_norm=True).state_dict())
    source = {convnext_key(k, code): v for k, v in state.items()}
    source[NAMES[code]['head'] + '.weight'] = torch.randn(num_classes, 16)
    source[NAMES[code]['head'] + '.bias'] = torch.randn(num_classes)
    return source, state


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
@pytest.mark.parametrize('code', NAMES)
def test_convnext_weights_land_where_they_belong(code, prefix):
    source, state = convnext(code)
    model = Video(ConvNeXt(ARCH, final_norm=True))
    report = load_pretrained(model, {prefix + k: v for k, v in source.items()})
    assert report.layout == f'ConvNeXt ({code})'
    assert all(
        torch.equal(value, state[key])
        for key, value in model.image.state_dict().items())


@pytest.mark.parametrize('code', NAMES)
def test_image_model_by_itself(code, tmp_path):
    source, state = convnext(code)
    torch.save(dict(model=source), tmp_path / 'image.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'image.pth'))
    model = ConvNeXt(ARCH, init_cfg=init_cfg)
    model.init_weights()
    assert all(
        torch.equal(value, state[key])
        for key, value in model.state_dict().items())


def test_image_model_by_itself_with_another_key_is_an_error():
    source = dict(CycleMLP(ARCH).state_dict(), more=torch.ones(1))
    with pytest.raises(ValueError, match="none: ..image.more"):
        load_pretrained(CycleMLP(ARCH), source)


@pytest.mark.parametrize('code', NAMES)
def test_final_norm_goes_with_the_head(code):
    source, _ = convnext(code)
    report = load_pretrained(Video(ConvNeXt(ARCH)), source)
    head = NAMES[code]['head']
    assert report.dropped == [
        'image.norm.bias', 'image.norm.weight', f'{head}.weight',
        f'{head}.bias'
    ]
    assert report.head.startswith('10 classes in the checkpoint')


def test_pointwise_convolutions_are_linear_layers():
    source, state = convnext('mmpretrain')
    for key in source:
        if 'pointwise_conv' in key and key.endswith('weight'):
            source[key] = source[key][:, :, None, None]
    model = Video(ConvNeXt(ARCH))
    load_pretrained(model, source)
    assert torch.equal(model.image.stages[1][0].pwconv1.weight,
                       state['stages.1.0.pwconv1.weight'])


def test_a_final_norm_that_is_missing_is_an_error():
    source = {k: v for k, v in convnext()[0].items() if 'norm.' not in k[:5]}
    with pytest.raises(ValueError, match='missing: .*image.norm.bias'):
        load_pretrained(Video(ConvNeXt(ARCH, final_norm=True)), source)


def test_temporal_modules_stay_as_initialised():
    model = Video(ConvNeXt(ARCH), zero_init=False)
    before = {k: v.clone() for k, v in model.temporal.state_dict().items()}
    report = load_pretrained(model, convnext()[0])
    assert report.left == sorted(f'temporal.{key}' for key in before)
    assert all(
        torch.equal(value, before[key])
        for key, value in model.temporal.state_dict().items())


@pytest.mark.parametrize('with_offsets', [True, False])
def test_cyclemlp_weights_land_where_they_belong(with_offsets):
    source = CycleMLP(ARCH).state_dict()
    if not with_offsets:
        source = {k: v for k, v in source.items() if 'offset' not in k}
    source['head.weight'], source['head.bias'] = torch.ones(9,
                                                            16), torch.ones(9)
    model = Video(CycleMLP(ARCH))
    report = load_pretrained(model, {'model': source})
    assert report.layout == 'CycleMLP (official)'
    assert report.dropped == ['head.weight', 'head.bias']
    assert torch.equal(model.image.network[2][1].attn.sfc_w.weight,
                       source['network.2.1.attn.sfc_w.weight'])


def test_our_own_checkpoint_is_loaded_whole():
    model = Video(ConvNeXt(ARCH))
    source = randomized(model.state_dict())
    report = load_pretrained(model,
                             {f'backbone.{k}': source[k]
                              for k in source})
    assert report.layout == 'ata_mm' and len(report.loaded) == len(source)
    assert torch.equal(model.temporal[0].attn.qkv.weight,
                       source['temporal.0.attn.qkv.weight'])


def test_our_own_checkpoint_with_fewer_temporal_modules_is_an_error():
    model = Video(ConvNeXt(ARCH))
    source = model.state_dict()
    del source['temporal.0.attn.qkv.weight']
    with pytest.raises(ValueError, match='missing: .*temporal.0.attn.qkv'):
        Video(ConvNeXt(ARCH)).load_state_dict(source, strict=False)


def test_our_image_model_alone():
    _, state = convnext()
    model = Video(ConvNeXt(ARCH, final_norm=True))
    report = load_pretrained(model, {
        f'image.{k}': v
        for k, v in state.items()
    })
    assert report.layout == 'image model (ata_mm)'
    assert torch.equal(model.image.norm.weight, state['norm.weight'])


def test_model_in_its_own_keys():
    image = ResNet(18)
    source = randomized(image.state_dict())
    model = Video(image)
    head = {'fc.weight': torch.ones(10, 512), 'fc.bias': torch.ones(10)}
    report = load_pretrained(model, {**source, **head})
    assert report.dropped == ['fc.weight', 'fc.bias']
    assert torch.equal(model.image.layer4[1].conv2.conv.weight,
                       source['layer4.1.conv2.conv.weight'])


def test_batch_counts_may_be_missing():
    source = {
        k: v
        for k, v in ResNet(18).state_dict().items()
        if not k.endswith('num_batches_tracked')
    }
    report = load_pretrained(Video(ResNet(18)), source)
    assert 'image.conv1.bn.num_batches_tracked' in report.left


def test_names_that_look_like_a_head_may_be_the_models_own():
    image = nn.Sequential()
    image.add_module('model', nn.ModuleDict(dict(head=nn.Linear(3, 3))))
    image.add_module('head', nn.Linear(3, 3))
    source, model = randomized(image.state_dict()), Video(image)
    assert load_pretrained(model, source).dropped == []
    assert torch.equal(model.image.model['head'].weight,
                       source['model.head.weight'])


def test_other_position_grids_are_interpolated():
    image = nn.Module()
    image.pos_embed = nn.Parameter(torch.zeros(1, 1 + 36, 8))
    report = load_pretrained(
        Video(image), dict(pos_embed=torch.randn(1, 1 + 16, 8)))
    assert report.interpolated == ['image.pos_embed']


@pytest.mark.parametrize('grid', [(3, 12), (4, 6)])
def test_positions_are_fitted_to_a_grid_that_is_no_square(grid):
    image = nn.Module()
    image.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid[0] * grid[1], 8))
    model, source = Video(image), torch.randn(1, 1 + 36, 8)
    model.grid = grid
    load_pretrained(model, dict(pos_embed=source))
    torch.testing.assert_close(image.pos_embed.data,
                               resize_pos_embed(source, grid))


def test_positions_of_another_map_than_the_features_are_kept():
    image = nn.Module()
    image.pos_embed = nn.Parameter(torch.zeros(1, 36, 8))
    model, source = Video(image), torch.randn(1, 36, 8)
    model.grid = (2, 4)
    load_pretrained(model, dict(pos_embed=source))
    assert torch.equal(image.pos_embed.data, source)


@pytest.mark.parametrize('key', ['aux.weight', 'norm.weight'])
def test_a_key_without_a_place_is_an_error_and_changes_nothing(key):
    model = Video(ResNet(18))
    before = model.image.conv1.conv.weight.clone()
    source = {**randomized(ResNet(18).state_dict()), key: torch.ones(1)}
    with pytest.raises(ValueError, match=f'image.{key}'):
        load_pretrained(model, source)
    assert torch.equal(model.image.conv1.conv.weight, before)


def test_neck_is_dropped_as_the_head_is():
    source = {**ResNet(18).state_dict(), 'neck.weight': torch.ones(1)}
    report = load_pretrained(Video(ResNet(18)), source)
    assert report.dropped == ['neck.weight']


def test_another_model_is_an_error():
    with pytest.raises(
            ValueError, match=r'CycleMLP \(official\).*downsample_layers'):
        load_pretrained(Video(CycleMLP(ARCH)), convnext()[0])


def test_a_backbone_of_others_is_an_error():
    with pytest.raises(ValueError, match='got ResNet'):
        load_pretrained(ResNet(18), ResNet(18).state_dict())


def test_offline_conversion_needs_no_model():
    source, state = convnext('timm')
    converted, report = convert_checkpoint(source)
    assert report.layout == 'ConvNeXt (timm)'
    model = Video(ConvNeXt(ARCH))
    load_pretrained(model, converted)
    assert torch.equal(model.image.stages[1][0].gamma,
                       state['stages.1.0.gamma'])


def test_offline_conversion_leaves_untrained_modules_out():
    model = nn.Module()
    model.backbone = Video(ConvNeXt(ARCH))
    converted, report = convert_checkpoint(convnext()[0], model)
    assert report.left[0].startswith('temporal.0.')
    assert all(key.startswith('backbone.image.') for key in converted)
