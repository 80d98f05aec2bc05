# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config, ConfigDict
from torch import nn

from ata_mm.introspection import count_complexity, view_shape
from ata_mm.introspection.complexity import _of_types

BACKBONES = dict(
    vit=dict(type='ATATimeSformer', in_channels=768),
    convnext=dict(type='ATAConvNeXt', arch='base', in_channels=1024),
    cyclemlp=dict(type='ATACycleMLP', arch='b5', in_channels=768),
)


def recognizer(in_channels, num_classes=400, **backbone):
    return MODELS.build(
        dict(
            type='Recognizer3D',
            backbone=backbone,
            cls_head=dict(
                type='TimeSformerHead'
                if backbone['type'] == 'ATATimeSformer'
                else 'I3DHead',
                num_classes=num_classes,
                in_channels=in_channels,
            ),
        )
    )


def micro(temporal='ATA', **options):
    return recognizer(
        24,
        num_classes=5,
        type='ATATimeSformer',
        num_frames=4,
        img_size=32,
        patch_size=8,
        embed_dims=24,
        num_heads=3,
        num_layers=2,
        temporal=dict(type=temporal, **options),
    )


# Tables 1, 3 and 6 of the paper; that of CycleMLP has two cells swapped.
@pytest.mark.parametrize(
    'backbone, temporal, frames, gigamacs, millions',
    [
        ('vit', 'ATA', 32, 792.9, 121.8),
        ('vit', 'ATA', 8, 201.8, 121.8),
        ('vit', 'TemporalAttention', 8, 201.8, 121.8),
        ('vit', 'TemporalAveraging', 8, 140.3, 86.2),
        ('vit', 'JointAttention', 8, 179.7, 86.2),
        ('convnext', 'ATA', 8, 198.0, 140.5),
        ('convnext', 'TemporalAveraging', 8, 123.0, 88.0),
        ('cyclemlp', 'ATA', 8, 122.4, 102.8),
        ('cyclemlp', 'TemporalAveraging', 8, 82.4, 75.3),
    ],
)
def test_cost_is_that_of_the_paper(
    backbone, temporal, frames, gigamacs, millions
):
    options = dict(num_frames=frames, temporal=dict(type=temporal))
    with torch.device('meta'):
        model = recognizer(**BACKBONES[backbone], **options)
    cost = count_complexity(
        model, (1, 1, 3, frames, 224, 224), without=['CycleFC']
    )
    assert abs(cost.parameters / 1e6 - millions) < 0.3
    assert abs(cost.macs / 1e9 / gigamacs - 1) < 0.03


def test_counts_every_product():
    frames, num, dims = 4, 16, 24
    tokens, layers, routes = frames * (num + 1), 2, frames * num
    embed = routes * dims * 3 * 8 * 8
    space = tokens * (12 * dims**2 + 2 * (num + 1) * dims)
    time = routes * (5 * dims**2 + 2 * frames * dims)
    head = 5 * dims
    cost = count_complexity(micro(), (1, 1, 3, 4, 32, 32))
    assert cost.macs == embed + layers * (space + time) + head


def test_matching_is_counted_apart():
    cost = count_complexity(micro(), (1, 1, 3, 4, 32, 32))
    assert dict(cost.matchings) == {16: 2 * 3}
    assert cost.similarity_macs == 2 * 3 * 16**2 * 24


def test_a_shared_alignment_counts_once():
    model = micro(share_alignment='stage')
    cost = count_complexity(model, (1, 1, 3, 4, 32, 32))
    assert dict(cost.matchings) == {16: 3}


@pytest.mark.parametrize(
    'matcher',
    [
        'AutoMatcher',
        'CoarseToFineMatcher',
        'DisplacementMatcher',
        'ExactMatcher',
        'LocalMatcher',
        'SinkhornMatcher',
    ],
)
def test_cost_does_not_depend_on_the_matcher(matcher):
    cost = count_complexity(micro(matcher=matcher), (1, 1, 3, 4, 32, 32))
    assert cost == count_complexity(micro(), (1, 1, 3, 4, 32, 32))


def test_types_of_modules_are_left_out():
    model = micro('TemporalAveraging')
    cost = count_complexity(model, (1, 1, 3, 4, 32, 32), without=['Conv2d'])
    everything = count_complexity(model, (1, 1, 3, 4, 32, 32))
    assert everything.macs - cost.macs == 4 * 16 * 24 * 3 * 8 * 8


def test_the_model_is_not_changed():
    model = micro().train()
    count_complexity(model, (1, 1, 3, 4, 32, 32))
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert all(p.device.type == 'cpu' for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def config(format_shape, **sample):
    pipeline = [
        dict(type='SampleFrames', **sample),
        dict(type='RandomCrop', size=256),
        dict(type='ThreeCrop', crop_size=(64, 32)),
    ]
    return Config(
        dict(
            model=dict(data_preprocessor=dict(format_shape=format_shape)),
            test_dataloader=dict(dataset=dict(pipeline=pipeline)),
        )
    )


def test_view_is_that_of_the_test_pipeline():
    cfg = config('NCTHW', clip_len=8, num_clips=10)
    assert view_shape(cfg) == (1, 1, 3, 8, 32, 64)


@pytest.mark.parametrize('keeps, size', [(True, (32, 64)), (False, (24, 48))])
def test_a_resize_after_the_crop_counts(keeps, size):
    cfg = config('NCTHW', clip_len=8)
    resize = dict(type='Resize', scale=(48, 24), keep_ratio=keeps)
    cfg.test_dataloader.dataset.pipeline.append(resize)
    assert view_shape(cfg)[4:] == size


def test_view_of_images_is_all_segments():
    cfg = config('NCHW', clip_len=1, num_clips=10)
    assert view_shape(cfg) == (1, 10, 3, 32, 64)


def test_view_may_be_given():
    cfg = config('NCTHW', clip_len=8)
    assert view_shape(cfg, (4, 16, 16)) == (1, 1, 3, 4, 16, 16)


def test_missing_view_is_asked_for():
    with pytest.raises(ValueError, match='--shape T H W'):
        view_shape(Config(dict(model=ConfigDict())))


def test_types_within_left_out_types_are_left_out_once():
    inner = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2))
    types = ['Sequential', 'Linear']
    assert _of_types(nn.ModuleList([inner]), types) == ['0']


@pytest.mark.parametrize(
    'step',
    [
        dict(type='FormatGCNInput', num_person=2),
        dict(type='FormatAudioShape', input_format='NCTF'),
        dict(type='mmaction.FormatShape', input_format='NCTHW_Heatmap'),
    ],
)
def test_refuses_recognizers_of_other_inputs(step):
    cfg = config('NCTHW')
    cfg.test_dataloader.dataset.pipeline = [step]
    with pytest.raises(ValueError, match='Expected a recognizer of RGB'):
        view_shape(cfg, (4, 16, 16))
