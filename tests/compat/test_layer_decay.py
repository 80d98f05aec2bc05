# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
from mmaction.registry import MODELS
from mmengine.optim import build_optim_wrapper

from ata_mm.compat import layer_decay

TIMESFORMER = dict(
    type='ATATimeSformer',
    num_frames=2,
    img_size=16,
    patch_size=8,
    embed_dims=8,
    num_heads=2,
    num_layers=3,
)
CONVNEXT = dict(
    type='ATAConvNeXt',
    num_frames=2,
    arch=dict(depths=[1, 2], channels=[8, 16]),
    final_norm=True,
    img_size=32,
    head_dims=8,
)
CYCLEMLP = dict(
    type='ATACycleMLP',
    num_frames=2,
    arch=dict(depths=[1, 2], channels=[8, 16]),
    img_size=32,
    head_dims=8,
)
RESNET = dict(
    type='ATABackbone',
    image_backbone=dict(type='ResNet', depth=18),
    blocks='layer*.*',
    num_frames=2,
    img_size=32,
)


def rates(backbone, num_layers=3, **head):
    """Learning rate by parameter name."""
    model = MODELS.build(
        dict(
            type='Recognizer3D',
            backbone=backbone,
            cls_head=dict(
                type='TimeSformerHead', num_classes=2, in_channels=8
            ),
        )
    )
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor='LearningRateDecayOptimizerConstructor',
            optimizer=dict(type='SGD', lr=1.0, weight_decay=0.1),
            paramwise_cfg=dict(
                decay_rate=0.5, decay_type='layer_wise', num_layers=num_layers
            ),
        ),
    )
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: group['lr']
        for group in wrapper.param_groups
        for p in group['params']
        if id(p) in names  # mmengine adds a group of its own
    }, names


def test_rates_fall_from_the_head_to_the_embeddings():
    found, names = rates(TIMESFORMER)
    assert found.keys() == set(names.values())
    assert found['cls_head.fc_cls.weight'] == 1
    assert found['backbone.norm.weight'] == 1
    assert found['backbone.blocks.2.temporal.attn.qkv.weight'] == 0.5
    assert found['backbone.blocks.0.norm1.weight'] == 0.125
    for name in (
        'cls_token',
        'pos_embed',
        'time_embed',
        'patch_embed.proj.weight',
    ):
        assert found[f'backbone.{name}'] == 0.0625


def test_another_number_of_layers_is_an_error():
    with pytest.raises(ValueError, match='Expected num_layers=3 .* got 2'):
        rates(TIMESFORMER, num_layers=2)


@pytest.mark.parametrize(
    'backbone, layers',
    [
        (
            CONVNEXT,
            {
                'image.downsample_layers.0.0.weight': 0.0625,
                'image.stages.0.0.dwconv.weight': 0.125,
                'temporal.0.attn.qkv.weight': 0.125,
                'image.downsample_layers.1.1.weight': 0.25,
                'temporal.1.attn.qkv.weight': 0.25,
                'image.stages.1.1.gamma': 0.5,
                'temporal.2.norm.weight': 0.5,
                'image.norm.weight': 1.0,
            },
        ),
        (
            CYCLEMLP,
            {
                'image.patch_embed.proj.weight': 0.0625,
                'image.network.0.0.mlp.fc1.weight': 0.125,
                'image.network.1.proj.weight': 0.25,
                'image.network.2.1.mlp.fc1.weight': 0.5,
                'temporal.2.attn.qkv.weight': 0.5,
                'image.norm.weight': 1.0,
            },
        ),
    ],
    ids=['ATAConvNeXt', 'ATACycleMLP'],
)
def test_stages_are_layers_block_by_block(backbone, layers):
    found, names = rates(backbone)
    assert found.keys() == set(names.values())
    assert {name: found[f'backbone.{name}'] for name in layers} == layers


def test_batch_norm_is_named():
    with pytest.raises(ValueError, match='without batch norm.* Remove const'):
        rates(RESNET, num_layers=8)


def test_another_backbone_is_named():
    with pytest.raises(ValueError, match='got C3D. Remove constructor'):
        rates(dict(type='C3D'))


def test_second_call_changes_nothing():
    layer_decay.apply()
    assert not layer_decay.needed()
