# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
from mmengine.registry import init_default_scope

from ata_mm.models.temporal import build_temporal, build_temporal_layer


def test_settings_of_the_config_win():
    cfg = dict(type='TemporalAttention', num_heads=4)
    assert build_temporal(cfg, embed_dims=16, num_heads=2).attn.num_heads == 4


def test_in_any_scope():
    init_default_scope('mmengine')
    cfg = dict(type='TemporalAttention')
    assert build_temporal(cfg, embed_dims=16, num_heads=2).mixes_frames


def test_layer_has_heads_of_head_dims():
    layer = build_temporal_layer(dict(type='ATA'), embed_dims=64, head_dims=16)
    assert layer.attn.num_heads == 4


def test_layer_refuses_what_is_no_layer():
    with pytest.raises(ValueError, match='a temporal module that is a layer'):
        build_temporal_layer(dict(type='JointAttention'), 32, 32)


@pytest.mark.parametrize('head_dims', [0, 24])
def test_layer_refuses_head_dims(head_dims):
    with pytest.raises(ValueError, match='head_dims to divide'):
        build_temporal_layer(dict(type='ATA'), 32, head_dims)


def test_averaging_has_no_heads():
    cfg = dict(type='TemporalAveraging')
    assert not build_temporal_layer(cfg, 32, head_dims=24).mixes_frames
