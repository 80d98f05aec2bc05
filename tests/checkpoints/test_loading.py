# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.models import TimeSformer
from mmaction.registry import MODELS
from mmengine.runner import load_checkpoint

from ata_mm.checkpoints import load_pretrained
from ata_mm.models import ATATimeSformer

SIZES = dict(
    num_frames=4, img_size=32, patch_size=8, embed_dims=24, num_heads=3)


def build(temporal='ATA', **options):
    options = {**SIZES, 'num_layers': 2, **options}
    return ATATimeSformer(temporal=dict(type=temporal), **options)


def recognizer(num_classes=5, **options):
    backbone = dict(type='ATATimeSformer', num_layers=2, **SIZES)
    return MODELS.build(
        dict(
            type='Recognizer3D',
            backbone={
                **backbone,
                **options
            },
            cls_head=dict(
                type='TimeSformerHead',
                num_classes=num_classes,
                in_channels=24)))


def randomized(state_dict):
    return {
        k: torch.randn_like(v) if v.is_floating_point() else v
        for k, v in state_dict.items()
    }


def official(num_classes=5):
    """A checkpoint with the keys of facebookresearch/TimeSformer."""
    names = {
        '.temporal.norm.': '.temporal_norm1.',
        '.temporal.attn.': '.temporal_attn.',
        '.temporal.temporal_fc.': '.temporal_fc.'
    }
    keys = {}
    for key, value in randomized(build().state_dict()).items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        keys['model.' + key] = value
    keys['model.head.weight'] = torch.randn(num_classes, 24)
    keys['model.head.bias'] = torch.randn(num_classes)
    return keys


def image_vit():
    """A checkpoint with timm's keys."""
    state = randomized(build('TemporalAveraging', num_frames=1).state_dict())
    return {
        **state, 'pre_logits.fc.weight': torch.randn(24, 24),
        'head.weight': torch.randn(10, 24),
        'head.bias': torch.randn(10)
    }


def mmpretrain_vit():
    """The same with mmpretrain's keys."""
    names = {
        'norm1': 'ln1',
        'norm2': 'ln2',
        'mlp.fc1': 'ffn.layers.0.0',
        'mlp.fc2': 'ffn.layers.1',
        'blocks.': 'layers.',
        'patch_embed.proj.': 'patch_embed.projection.'
    }
    keys = {}
    for key, value in randomized(
            build('TemporalAveraging', num_frames=1).state_dict()).items():
        if key.startswith('norm.'):
            key = key.replace('norm.', 'ln1.')
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        keys['backbone.' + key] = value
    return keys


def test_official_weights_land_where_they_belong():
    model, source = build(), official()
    report = load_pretrained(model, {'model_state': source})
    assert report.layout == 'TimeSformer (official)'
    loaded = model.state_dict()
    assert torch.equal(loaded['blocks.1.temporal.attn.qkv.weight'],
                       source['model.blocks.1.temporal_attn.qkv.weight'])
    assert torch.equal(loaded['blocks.1.temporal.norm.bias'],
                       source['model.blocks.1.temporal_norm1.bias'])
    assert torch.equal(loaded['blocks.0.attn.qkv.weight'],
                       source['model.blocks.0.attn.qkv.weight'])


@pytest.mark.parametrize('prefix', ['', 'module.', 'module.backbone.'])
def test_names_of_wrappers_do_not_matter(prefix):
    source = {
        prefix + k: v
        for k, v in randomized(build().state_dict()).items()
    }
    model = build()
    load_pretrained(model, source)
    assert torch.equal(model.norm.weight, source[prefix + 'norm.weight'])


@pytest.mark.parametrize('source', [image_vit, mmpretrain_vit])
def test_image_weights_start_the_temporal_attention(source):
    model = build()
    report = load_pretrained(model, source())
    block = model.blocks[1]
    assert torch.equal(block.temporal.attn.qkv.weight, block.attn.qkv.weight)
    assert torch.equal(block.temporal.norm.bias, block.norm1.bias)
    assert not block.temporal.temporal_fc.weight.any()
    assert not model.time_embed.any()
    assert 'blocks.1.temporal.attn.qkv.weight' in report.copied


def test_image_of_another_shape_is_interpolated_at_the_same_size():
    model = build(img_size=(16, 64))  # 2 x 8 patches for 4 x 4
    assert load_pretrained(model, image_vit()).interpolated == ['pos_embed']


def test_image_weights_in_keys_of_mmaction2():
    peer = TimeSformer(
        **SIZES, num_transformer_layers=2, attention_type='space_only')
    model = build()
    report = load_pretrained(model, peer.state_dict())
    assert report.layout == 'image ViT (mmaction2)'
    assert torch.equal(
        model.blocks[1].temporal.attn.qkv.weight,
        peer.transformer_layers.layers[1].attentions[0].attn.in_proj_weight)


def test_trained_temporal_weights_are_not_overwritten():
    model = build()
    load_pretrained(model, official())
    block = model.blocks[0]
    assert not torch.equal(block.temporal.attn.qkv.weight,
                           block.attn.qkv.weight)


def test_every_parameter_is_in_the_report():
    model = build(img_size=40, num_frames=6)
    report = load_pretrained(model, image_vit())
    listed = (
        report.loaded + report.interpolated + report.copied + report.zeroed)
    assert sorted(listed) == sorted(model.state_dict())
    assert report.interpolated == ['pos_embed']


def test_embeddings_are_fitted_to_clip_and_image():
    model = build(img_size=48, num_frames=8)
    report = load_pretrained(model, official())
    assert sorted(report.interpolated) == ['pos_embed', 'time_embed']


def test_classifier_of_as_many_classes_is_loaded():
    model, source = recognizer(), official()
    load_pretrained(model, source)
    assert torch.equal(model.cls_head.fc_cls.weight,
                       source['model.head.weight'])


def test_classifier_of_other_classes_is_reported():
    report = load_pretrained(recognizer(7), official())
    assert '7 classes here, 5 in the checkpoint' in report.head


def test_a_key_without_a_place_is_an_error():
    with pytest.raises(ValueError, match='adapter.weight'):
        load_pretrained(build(), {
            **official(), 'adapter.weight': torch.ones(1)
        })


def test_layers_that_the_model_lacks_are_an_error():
    with pytest.raises(ValueError, match='blocks.1.*fewer layers'):
        load_pretrained(build(num_layers=1), official())


def test_a_missing_key_is_an_error_and_changes_nothing():
    model, source = build(), official()
    before = model.norm.weight.clone()
    del source['model.blocks.0.attn.proj.bias']
    with pytest.raises(ValueError, match='blocks.0.attn.proj.bias'):
        load_pretrained(model, source)
    assert torch.equal(model.norm.weight, before)


def test_another_width_is_an_error():
    with pytest.raises(
            ValueError, match=r'shape \(1, 1, 48\), got \(1, 1, 24'):
        load_pretrained(build(embed_dims=48), official())


def test_keys_of_no_known_layout_are_an_error():
    with pytest.raises(ValueError, match='conv1.weight'):
        load_pretrained(build(), {'conv1.weight': torch.ones(1)})


def test_what_is_no_state_dict_is_an_error():
    with pytest.raises(ValueError, match="'epoch'"):
        load_pretrained(build(), {'epoch': 3})


def test_a_missing_key_is_an_error_wherever_it_is_loaded():
    state = build().state_dict()
    del state['blocks.1.mlp.fc1.bias']
    with pytest.raises(ValueError, match='blocks.1.mlp.fc1.bias'):
        build().load_state_dict(state, strict=False)


def test_joint_attention_is_for_joint_attention():
    source = {**image_vit(), 'time_embed': torch.randn(1, 4, 24)}
    model = build('JointAttention')
    load_pretrained(model, source)
    assert torch.equal(model.time_embed, source['time_embed'])
    with pytest.raises(ValueError, match="type='JointAttention'"):
        load_pretrained(build(), source)


def test_weights_without_a_time_bias_start_it_at_zero():
    model = ATATimeSformer(
        num_layers=2, temporal=dict(type='ATA', time_bias_std=1.), **SIZES)
    report = load_pretrained(model, official())
    assert not model.blocks[1].temporal.time_bias.any()
    assert 'blocks.1.temporal.time_bias' in report.zeroed


def test_head_without_a_bias_is_left_out():
    model, source = recognizer(), official()
    del source['model.head.bias']
    assert load_pretrained(model, source).head == 'none in the checkpoint'


def test_model_in_a_wrapper():
    model, source = build(), official()
    load_pretrained(torch.nn.DataParallel(model), source)
    assert torch.equal(model.norm.weight, source['model.norm.weight'])


def test_missing_file():
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        load_pretrained(build(), 'nowhere.pth')


@pytest.mark.parametrize('how', ['pretrained', 'init_cfg'])
def test_init_weights_loads_a_file(tmp_path, how):
    path, source = str(tmp_path / 'official.pyth'), official()
    torch.save({'model_state': source}, path)
    init_cfg = dict(type='Pretrained', checkpoint=path)
    value = path if how == 'pretrained' else init_cfg
    model = recognizer(**{how: value})
    model.init_weights()
    assert torch.equal(model.backbone.norm.weight, source['model.norm.weight'])


def test_mmengine_loads_a_recognizer_of_mmaction2(tmp_path):
    peer = TimeSformer(**SIZES, num_transformer_layers=2)
    state = {
        f'backbone.{k}': v
        for k, v in randomized(peer.state_dict()).items()
    }
    torch.save(dict(state_dict=state), tmp_path / 'zoo.pth')
    model = recognizer()
    load_checkpoint(model, str(tmp_path / 'zoo.pth'), strict=False)
    assert torch.equal(
        model.backbone.blocks[1].norm2.weight,
        state['backbone.transformer_layers.layers.1.ffns.0.norm.weight'])


def test_a_checkpoint_without_the_backbone_is_an_error():
    with pytest.raises(ValueError, match="start with 'backbone.'"):
        recognizer().load_state_dict(official(), strict=False)


def test_a_state_dict_of_ours_is_loaded_as_it_is():
    model, twin = build(), build()
    twin.load_state_dict(model.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(),
                                          twin.state_dict().values()))
