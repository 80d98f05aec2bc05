# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config, ConfigDict

from ata_mm.apis.complexity import count_complexity, view_shape

MICRO = dict(
    num_frames=4,
    img_size=32,
    patch_size=8,
    embed_dims=24,
    num_heads=3,
    num_layers=2)


def recognizer(temporal, num_classes=400, **options):
    return MODELS.build(
        dict(
            type='Recognizer3D',
            backbone=dict(
                type='ATATimeSformer', temporal=dict(type=temporal),
                **options),
            cls_head=dict(
                type='TimeSformerHead',
                num_classes=num_classes,
                in_channels=options.get('embed_dims', 768))))


@pytest.mark.parametrize('temporal, frames, gigamacs, millions', [
    ('ATA', 8, 201.8, 121.8),
    ('TemporalAttention', 8, 201.8, 121.8),
    ('TemporalAveraging', 8, 140.3, 86.2),
    ('JointAttention', 8, 179.7, 86.2),
    ('ATA', 32, 792.9, 121.8),
])
def test_vit_base_costs_what_the_paper_says(temporal, frames, gigamacs,
                                            millions):
    with torch.device('meta'):
        model = recognizer(temporal, num_frames=frames)
    cost = count_complexity(model, (1, 1, 3, frames, 224, 224))
    assert abs(cost.parameters / 1e6 - millions) < 0.3
    assert abs(cost.macs / 1e9 / gigamacs - 1) < 0.03


def test_counts_every_product():
    frames, num, dims = 4, 16, 24
    tokens, layers, routes = frames * (num + 1), 2, frames * num
    embed = routes * dims * 3 * 8 * 8
    space = tokens * (12 * dims**2 + 2 * (num + 1) * dims)
    time = routes * (5 * dims**2 + 2 * frames * dims)
    head = 5 * dims
    cost = count_complexity(
        recognizer('ATA', 5, **MICRO), (1, 1, 3, 4, 32, 32))
    assert cost.macs == embed + layers * (space + time) + head


def test_matching_stands_apart():
    cost = count_complexity(recognizer('ATA', **MICRO), (1, 1, 3, 4, 32, 32))
    assert dict(cost.matchings) == {16: 2 * 3}
    assert cost.similarity_macs == 2 * 3 * 16**2 * 24


def test_types_of_modules_are_left_out():
    model = recognizer('TemporalAveraging', 5, **MICRO)
    cost = count_complexity(model, (1, 1, 3, 4, 32, 32), without=['Conv2d'])
    everything = count_complexity(model, (1, 1, 3, 4, 32, 32))
    assert everything.macs - cost.macs == 4 * 16 * 24 * 3 * 8 * 8


def test_the_model_is_not_changed():
    model = recognizer('ATA', **MICRO).train()
    count_complexity(model, (1, 1, 3, 4, 32, 32))
    routes = model.backbone.blocks[0].temporal.alignment(
        torch.randn(1, 4, 16, 24)).routes
    assert routes.shape == (1, 4, 16)
    assert model.training and all(p.requires_grad for p in model.parameters())


def config(format_shape, **sample):
    pipeline = [
        dict(type='SampleFrames', **sample),
        dict(type='RandomCrop', size=256),
        dict(type='ThreeCrop', crop_size=(64, 32))
    ]
    return Config(
        dict(
            model=dict(data_preprocessor=dict(format_shape=format_shape)),
            test_dataloader=dict(dataset=dict(pipeline=pipeline))))


def test_view_is_what_the_test_pipeline_delivers():
    cfg = config('NCTHW', clip_len=8, num_clips=10)
    assert view_shape(cfg) == (1, 1, 3, 8, 32, 64)


def test_view_of_images_is_all_segments():
    cfg = config('NCHW', clip_len=1, num_clips=10)
    assert view_shape(cfg) == (1, 10, 3, 32, 64)


def test_view_may_be_given():
    cfg = config('NCTHW', clip_len=8)
    assert view_shape(cfg, (4, 16, 16)) == (1, 1, 3, 4, 16, 16)


def test_view_that_nothing_tells_is_asked_for():
    with pytest.raises(ValueError, match='--shape T H W'):
        view_shape(Config(dict(model=ConfigDict())))
