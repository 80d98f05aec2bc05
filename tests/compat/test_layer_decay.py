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
CONVNEXT = dict(type='ATAConvNeXt', num_frames=2)


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


def test_another_backbone_is_named():
    with pytest.raises(ValueError, match='got ATAConvNeXt. Remove const'):
        rates(CONVNEXT)


def test_second_call_changes_nothing():
    layer_decay.apply()
    assert not layer_decay.needed()
