# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
from mmaction.registry import MODELS
from mmengine.config import Config, ConfigDict

from ata_mm.models import ATA, ConvNeXt, TemporalAttention
from ata_mm.models.options import (
    check_drop_path_rate,
    drop_path_rates,
    read_img_size,
)

ARCH = dict(depths=[1], channels=[16])
VIT = dict(
    type='ATATimeSformer',
    num_frames=2,
    img_size=16,
    patch_size=8,
    embed_dims=16,
    num_heads=2,
    num_layers=1,
)
WRAPPER = dict(
    type='ATABackbone',
    image_backbone=dict(type='ConvNeXt', arch=ARCH),
    blocks='stages.*.*',
    num_frames=2,
    img_size=16,
    head_dims=8,
)
CONVNEXT, CYCLEMLP = (
    dict(type=name, num_frames=2, img_size=16, arch=ARCH, head_dims=8)
    for name in ('ATAConvNeXt', 'ATACycleMLP')
)
VIDEO = [VIT, WRAPPER, CONVNEXT, CYCLEMLP]
IMAGE = [dict(type=name, arch=ARCH) for name in ('ConvNeXt', 'CycleMLP')]
NECK = dict(type='ATANeck', embed_dims=16, head_dims=8)
NO_COUNTS = [None, '8', -1, 0, 2.0, True]
NO_SIZES = [
    0,
    -8,
    None,
    '16',
    16.0,
    True,
    [16],
    (16, 24, 3),
    (16, 0),
    (16, '8'),
]


def refuses(cfg, **option):
    """Assert that a model is not built with an option, and names it."""
    (name,) = option
    with pytest.raises(ValueError, match=f'Expected {name}'):
        MODELS.build({**cfg, **option})


@pytest.mark.parametrize('rate', [0, 0.0, 0.5, 0.999])
def test_a_rate_below_one_is_returned(rate):
    assert check_drop_path_rate(rate) == rate


@pytest.mark.parametrize('rate', [1, 1.0, 10, -0.1, float('nan'), '0.1', None])
def test_a_rate_is_from_zero_to_below_one(rate):
    with pytest.raises(ValueError, match='drop_path_rate from 0 to below 1'):
        check_drop_path_rate(rate)


@pytest.mark.parametrize(
    'img_size, expected',
    [(224, (224, 224)), ((32, 40), (32, 40)), ([32, 40], (32, 40))],
)
def test_an_image_size_is_height_and_width(img_size, expected):
    assert read_img_size(img_size) == expected


@pytest.mark.parametrize('img_size', NO_SIZES)
def test_an_image_size_is_one_or_two_integers(img_size):
    with pytest.raises(ValueError, match='Expected img_size to be'):
        read_img_size(img_size)


@pytest.mark.parametrize('cfg', [*VIDEO, *IMAGE, NECK])
def test_the_models_of_these_tests_are_built(cfg):
    MODELS.build(cfg)


@pytest.mark.parametrize('cfg', VIDEO)
@pytest.mark.parametrize('num_frames', NO_COUNTS)
def test_backbones_refuse_other_numbers_of_frames(cfg, num_frames):
    refuses(cfg, num_frames=num_frames)


@pytest.mark.parametrize('cfg', VIDEO)
@pytest.mark.parametrize('img_size', NO_SIZES)
def test_backbones_refuse_other_image_sizes(cfg, img_size):
    refuses(cfg, img_size=img_size)


@pytest.mark.parametrize('cfg', [*VIDEO, *IMAGE, NECK])
@pytest.mark.parametrize('rate', [1.0, 10, -0.1, '0.1'])
def test_models_refuse_other_rates_of_stochastic_depth(cfg, rate):
    refuses(cfg, drop_path_rate=rate)


@pytest.mark.parametrize('kind', ['TemporalAttention', 'JointAttention'])
def test_blocks_refuse_other_rates_of_stochastic_depth(kind):
    with pytest.raises(ValueError, match='Expected drop_path_rate'):
        MODELS.build({**VIT, 'temporal': dict(type=kind, drop_path_rate=1.0)})


def test_temporal_attention_refuses_to_drop_everything():
    with pytest.raises(ValueError, match='Expected drop_path_rate'):
        TemporalAttention(16, 2, drop_path_rate=1.0)


@pytest.mark.parametrize('cfg', [*VIDEO, NECK])
@pytest.mark.parametrize('temporal', ['ATA', ['ATA'], ATA, 3])
def test_models_refuse_what_is_no_config(cfg, temporal):
    with pytest.raises(ValueError, match=r"such as dict\(type='ATA'\), got"):
        MODELS.build({**cfg, 'temporal': temporal})


@pytest.mark.parametrize('cfg', VIDEO)
def test_other_blocks_refuse_what_is_no_config(cfg):
    options = dict(temporal_blocks=[], other_temporal='ATA')
    with pytest.raises(ValueError, match="got 'ATA'"):
        MODELS.build({**cfg, **options})


@pytest.mark.parametrize('cfg', [*VIDEO, NECK])
@pytest.mark.parametrize('kind', [ConfigDict, lambda **k: Config(k)])
def test_models_accept_configs_of_mmengine(cfg, kind):
    MODELS.build({**cfg, 'temporal': kind(type='ATA')})


@pytest.mark.parametrize('kind', [ConfigDict, lambda **k: Config(k)])
def test_the_wrapper_accepts_configs_of_mmengine(kind):
    image = kind(**WRAPPER['image_backbone'])
    MODELS.build({**WRAPPER, 'image_backbone': image})


@pytest.mark.parametrize('image', ['ConvNeXt', None, ['ConvNeXt'], ConvNeXt])
def test_the_wrapper_refuses_what_is_no_config(image):
    refuses(WRAPPER, image_backbone=image)


@pytest.mark.parametrize('layout', [None, 3, ['NCHW']])
def test_the_wrapper_refuses_what_is_no_layout(layout):
    refuses(WRAPPER, layout=layout)


@pytest.mark.parametrize('cfg', VIDEO)
@pytest.mark.parametrize('blocks', [None, 0, 2.5, [1], [-1], ['0'], [[0]]])
def test_backbones_refuse_other_choices_of_blocks(cfg, blocks):
    refuses(cfg, temporal_blocks=blocks)


@pytest.mark.parametrize(
    'cfg, name',
    [
        (VIT, 'patch_size'),
        (VIT, 'embed_dims'),
        (VIT, 'num_layers'),
        (VIT, 'in_channels'),
        (IMAGE[0], 'in_channels'),
        (IMAGE[1], 'in_channels'),
        (NECK, 'embed_dims'),
        (NECK, 'num_blocks'),
    ],
)
@pytest.mark.parametrize('value', NO_COUNTS)
def test_models_refuse_other_counts(cfg, name, value):
    refuses(cfg, **{name: value})


@pytest.mark.parametrize('value', ['8', -1, 0, 2.0, True])
def test_the_neck_refuses_other_numbers_of_segments(value):
    refuses(NECK, num_segments=value)


@pytest.mark.parametrize('value', [None, '8', -8, 8.0])
def test_heads_have_a_number_of_channels(value):
    refuses(NECK, head_dims=value)


@pytest.mark.parametrize('value', [None, '2', -2, 2.0])
def test_attention_has_a_number_of_heads(value):
    refuses(VIT, num_heads=value)


def test_rates_grow_linearly_to_that_of_the_last_block():
    assert drop_path_rates(0.2, 3) == pytest.approx([0, 0.1, 0.2])
    assert drop_path_rates(0.2, 1) == [0]
