# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.models import ResNet
from torch import nn

from ata_mm.checkpoints import (
    LoadReport,
    convert_state_dict,
    load_pretrained,
)
from ata_mm.checkpoints.conversion import as_video_backbone
from ata_mm.checkpoints.embeddings import resize_pos_embed
from ata_mm.checkpoints.heads import split_head
from ata_mm.models import ATATimeSformer
from ata_mm.models.backbones.convnext import ConvNeXt
from ata_mm.models.backbones.cyclemlp import CycleMLP
from tests.checkpoints import toys
from tests.checkpoints.toys import (
    ARCH,
    SIZES,
    Video,
    convnext,
    image_vit,
    official,
    positions,
    randomized,
    timesformer,
)

REPORT = LoadReport(
    'some layout',
    loaded=['blocks.0.mlp.fc1.weight', 'blocks.11.mlp.fc1.bias', 'pos_embed'],
    interpolated=['image.layer2.3.bn1.running_mean'],
    left=['temporal.3.attn.qkv.weight'],
    dropped=['head.weight', 'head.bias'],
    head='left as initialised (5 classes here, 400 in the checkpoint)',
)


@pytest.mark.parametrize('model', [ConvNeXt(ARCH), CycleMLP(ARCH)])
def test_bare_image_models_of_ours_are_wrapped(model):
    assert as_video_backbone(model).image is model


def test_other_models_are_not_wrapped():
    for model in (timesformer(), ResNet(18)):
        assert as_video_backbone(model) is model


def test_conversion_changes_neither_the_model_nor_the_source():
    model, source = timesformer(), split_head(image_vit())[0]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    keys = list(source)
    convert_state_dict(source, model)
    toys.assert_equal(model, before)
    assert list(source) == keys


@pytest.mark.parametrize('source', [image_vit, toys.mmpretrain_vit])
def test_image_weights_start_the_temporal_attention(source):
    model = timesformer()
    report = load_pretrained(model, source())
    block = model.blocks[1]
    assert torch.equal(block.temporal.attn.qkv.weight, block.attn.qkv.weight)
    assert torch.equal(block.temporal.norm.bias, block.norm1.bias)
    assert not block.temporal.temporal_fc.weight.any()
    assert not model.time_embed.any()
    assert 'blocks.1.temporal.attn.qkv.weight' in report.copied


def test_trained_temporal_weights_are_not_overwritten():
    model = timesformer()
    load_pretrained(model, official())
    block = model.blocks[0]
    assert not torch.equal(
        block.temporal.attn.qkv.weight, block.attn.qkv.weight
    )


def test_weights_without_a_time_bias_start_it_at_zero():
    model = ATATimeSformer(
        num_layers=2, temporal=dict(type='ATA', time_bias_std=1.0), **SIZES
    )
    report = load_pretrained(model, official())
    assert not model.blocks[1].temporal.time_bias.any()
    assert 'blocks.1.temporal.time_bias' in report.zeroed


def test_temporal_modules_of_an_image_backbone_stay_as_initialised():
    model = Video(ConvNeXt(ARCH), zero_init=False)
    before = {k: v.clone() for k, v in model.temporal.state_dict().items()}
    report = load_pretrained(model, convnext()[0])
    assert report.left == sorted(f'temporal.{key}' for key in before)
    toys.assert_equal(model.temporal, before)


def test_every_parameter_is_in_the_report():
    model = timesformer(img_size=40, num_frames=6)
    report = load_pretrained(model, image_vit())
    listed = (
        report.loaded + report.interpolated + report.copied + report.zeroed
    )
    assert sorted(listed) == sorted(model.state_dict())
    assert report.interpolated == ['pos_embed']


def test_embeddings_are_fitted_to_clip_and_image():
    model = timesformer(img_size=48, num_frames=8)
    report = load_pretrained(model, official())
    assert sorted(report.interpolated) == ['pos_embed', 'time_embed']


def test_image_of_another_shape_is_interpolated_at_the_same_size():
    model = timesformer(img_size=(16, 64))  # 2 x 8 patches instead of 4 x 4
    assert load_pretrained(model, image_vit()).interpolated == ['pos_embed']


def test_our_embeddings_are_on_the_grid_of_the_model():
    model = timesformer(img_size=(16, 64))
    source = randomized(model.state_dict())
    converted, report = convert_state_dict(source, model)
    assert converted['pos_embed'] is source['pos_embed']
    assert not report.interpolated


def test_other_position_grids_are_interpolated():
    source = dict(pos_embed=torch.randn(1, 1 + 16, 8))
    report = load_pretrained(positions(1 + 36), source)
    assert report.interpolated == ['image.pos_embed']


@pytest.mark.parametrize('grid', [(3, 12), (4, 6)])
def test_positions_are_fitted_to_a_grid_that_is_no_square(grid):
    model = positions(1 + grid[0] * grid[1], grid)
    source = torch.randn(1, 1 + 36, 8)
    load_pretrained(model, dict(pos_embed=source))
    torch.testing.assert_close(
        model.image.pos_embed.data, resize_pos_embed(source, grid)
    )


def test_positions_of_another_map_than_the_features_are_kept():
    model, source = positions(36, grid=(2, 4)), torch.randn(1, 36, 8)
    load_pretrained(model, dict(pos_embed=source))
    assert torch.equal(model.image.pos_embed.data, source)


def test_pointwise_convolutions_are_linear_layers():
    source, state = convnext('mmpretrain')
    for key in source:
        if 'pointwise_conv' in key and key.endswith('weight'):
            source[key] = source[key][:, :, None, None]
    model = Video(ConvNeXt(ARCH))
    load_pretrained(model, source)
    assert torch.equal(
        model.image.stages[1][0].pwconv1.weight,
        state['stages.1.0.pwconv1.weight'],
    )


@pytest.mark.parametrize('code', toys.CONVNEXT)
def test_final_norm_goes_with_the_head(code):
    source, _ = convnext(code)
    report = load_pretrained(Video(ConvNeXt(ARCH)), source)
    head = toys.CONVNEXT[code]['head']
    assert report.dropped == [
        'image.norm.bias',
        'image.norm.weight',
        f'{head}.weight',
        f'{head}.bias',
    ]
    assert report.head.startswith('10 classes in the checkpoint')


def test_a_final_norm_that_is_missing_is_an_error():
    source = {k: v for k, v in convnext()[0].items() if 'norm.' not in k[:5]}
    with pytest.raises(ValueError, match='none for 2: .*image.norm.bias'):
        load_pretrained(Video(ConvNeXt(ARCH, final_norm=True)), source)


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
    assert torch.equal(
        model.image.model['head'].weight, source['model.head.weight']
    )


def test_neck_is_dropped_as_the_head_is():
    source = {**ResNet(18).state_dict(), 'neck.weight': torch.ones(1)}
    report = load_pretrained(Video(ResNet(18)), source)
    assert report.dropped == ['neck.weight']


def test_joint_attention_is_for_joint_attention():
    source = {**image_vit(), 'time_embed': torch.randn(1, 4, 24)}
    model = timesformer('JointAttention')
    load_pretrained(model, source)
    assert torch.equal(model.time_embed, source['time_embed'])
    with pytest.raises(ValueError, match="type='JointAttention'"):
        load_pretrained(timesformer(), source)


def test_layers_that_the_model_lacks_are_an_error():
    with pytest.raises(ValueError, match='blocks.1.*number of layers'):
        load_pretrained(timesformer(num_layers=1), official())


def test_an_unknown_key_of_a_bare_image_model_is_an_error():
    source = dict(CycleMLP(ARCH).state_dict(), more=torch.ones(1))
    with pytest.raises(ValueError, match='that it lacks: ..image.more'):
        load_pretrained(CycleMLP(ARCH), source)


def test_another_width_is_an_error():
    with pytest.raises(
        ValueError, match=r'shape \(1, 1, 48\), got \(1, 1, 24'
    ):
        load_pretrained(timesformer(embed_dims=48), official())


def test_our_own_checkpoint_with_fewer_temporal_modules_is_an_error():
    source = Video(ConvNeXt(ARCH)).state_dict()
    del source['temporal.0.attn.qkv.weight']
    with pytest.raises(ValueError, match='none for 1: .*temporal.0.attn.qkv'):
        Video(ConvNeXt(ARCH)).load_state_dict(source, strict=False)


def test_every_kind_is_counted_and_named():
    assert str(REPORT).splitlines() == [
        'Checkpoint layout: some layout. Parameters:',
        '     3 loaded unchanged: blocks.*.mlp.fc1, pos_embed',
        '     1 interpolated: image.layer*.*.bn1',
        '     1 left as initialised: temporal.*.attn.qkv',
        '     2 dropped from the checkpoint: head',
        '  classifier: left as initialised (5 classes here, 400 in the '
        'checkpoint)',
    ]


def test_long_rows_are_wrapped():
    names = [f'layer{i}.weight' for i in range(40)]
    text = str(LoadReport('some layout', loaded=names))
    assert max(map(len, text.splitlines())) < 80
    assert 'layer39' in text


@pytest.mark.parametrize('dtype', [torch.int8, torch.complex64])
def test_weights_that_are_no_real_numbers_are_refused(dtype):
    model = timesformer()
    source = model.state_dict()
    source['cls_token'] = source['cls_token'].to(dtype)
    with pytest.raises(ValueError, match=f'cls_token .* got {dtype}'):
        load_pretrained(model, source)
