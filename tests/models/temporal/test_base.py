# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from ata_mm.models import TemporalModule
from ata_mm.models.temporal import (
    build_temporal,
    build_temporal_layer,
    merge_default,
)
from ata_mm.ops import align_frames


@MODELS.register_module(force=True)
class Unchanged(TemporalModule):
    """Custom module with every default."""


@MODELS.register_module(force=True)
class OnlyAlignment(TemporalModule):
    """Custom module that overrides `alignment` alone."""

    def alignment(self, x, position=None, grid=None):
        return align_frames(x, grid=grid)


@MODELS.register_module(force=True)
class MeanOfRoute(OnlyAlignment):
    """Custom module that uses the alignment that the backbone passes."""

    def forward(self, x, position=None, grid=None, alignment=None):
        mean = alignment.align(x).mean(1, keepdim=True)
        return alignment.dealign(mean.expand_as(x))


@MODELS.register_module(force=True)
class NoTemporalModule(nn.Module):
    """Module that does not derive from the base class."""

    def __init__(self, **options):
        super().__init__()


def timesformer(temporal):
    model = MODELS.build(
        dict(
            type='ATATimeSformer',
            num_frames=3,
            img_size=32,
            embed_dims=24,
            num_heads=3,
            num_layers=2,
            drop_path_rate=0.0,
            temporal=temporal,
        )
    )
    return model, (1, 3, 3, 32, 32)


def backbone(temporal):
    model = MODELS.build(
        dict(
            type='ATABackbone',
            image_backbone=dict(type='ResNet', depth=18),
            blocks='layer[34].*',
            num_frames=3,
            img_size=64,
            temporal=temporal,
        )
    )
    return model.eval(), (1, 3, 3, 64, 64)


def neck(temporal):
    cfg = dict(type='ATANeck', embed_dims=32, temporal=temporal)
    return MODELS.build(cfg), (1, 32, 3, 2, 3)


def run(build, temporal):
    torch.manual_seed(0)
    model, shape = build(dict(type=temporal))
    y = model(torch.randn(shape))
    return y[0] if build is neck else y


everywhere = pytest.mark.parametrize('build', [timesformer, backbone, neck])


@everywhere
def test_custom_module_with_only_alignment_works(build):
    expected = run(build, 'Unchanged')
    assert torch.equal(run(build, 'OnlyAlignment'), expected)


@everywhere
def test_custom_module_gets_the_alignment_that_it_returned(build):
    y = run(build, 'MeanOfRoute')
    assert y.isfinite().all()
    assert not torch.allclose(y, run(build, 'Unchanged'))


@everywhere
def test_module_that_is_not_a_temporal_module_is_refused(build):
    with pytest.raises(ValueError, match='derived from .*TemporalModule'):
        build(dict(type='NoTemporalModule'))


def test_default_module_returns_its_input_and_does_not_align():
    module, x = TemporalModule(), torch.randn(1, 2, 4, 8)
    assert module(x) is x
    assert module.alignment(x) is None


def test_unknown_option_is_named():
    with pytest.raises(TypeError, match="'matchr'"):
        build_temporal(dict(type='ATA', matchr='auto'), 16, 2)


def test_options_of_the_config_override_the_arguments():
    cfg = dict(type='TemporalAttention', num_heads=4)
    assert build_temporal(cfg, embed_dims=16, num_heads=2).attn.num_heads == 4


@pytest.mark.parametrize(
    'cfg, expected',
    [
        (None, dict(type='ATA', refine=1)),
        (dict(refine=2), dict(type='ATA', refine=2)),
        (dict(type='TemporalAveraging'), dict(type='TemporalAveraging')),
    ],
)
def test_options_without_a_type_change_the_default(cfg, expected):
    assert merge_default(cfg, type='ATA', refine=1) == expected


def test_is_built_in_any_default_scope():
    init_default_scope('mmengine')
    cfg = dict(type='TemporalAttention')
    assert build_temporal(cfg, embed_dims=16, num_heads=2).mixes_frames


def test_layer_has_heads_of_head_dims():
    layer = build_temporal_layer(dict(type='ATA'), embed_dims=64, head_dims=16)
    assert layer.attn.num_heads == 4


def test_layer_refuses_joint_attention():
    with pytest.raises(ValueError, match='a temporal module that is a layer'):
        build_temporal_layer(dict(type='JointAttention'), 32, 32)


@pytest.mark.parametrize('head_dims', [0, 24])
def test_layer_refuses_head_dims_that_do_not_divide_the_channels(head_dims):
    with pytest.raises(ValueError, match='head_dims to divide'):
        build_temporal_layer(dict(type='ATA'), 32, head_dims)


def test_averaging_accepts_any_head_dims():
    cfg = dict(type='TemporalAveraging')
    assert not build_temporal_layer(cfg, 32, head_dims=24).mixes_frames
