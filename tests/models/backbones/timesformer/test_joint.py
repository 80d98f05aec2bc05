# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.registry import MODELS

from ata_mm.models import ATATimeSformer, JointAttention
from ata_mm.models.backbones.timesformer import DividedBlock
from ata_mm.models.backbones.timesformer.joint import (
    join_frames,
    split_frames,
)
from ata_mm.models.backbones.timesformer.timesformer import build_block


def timesformer(temporal):
    return ATATimeSformer(
        num_frames=2,
        img_size=32,
        embed_dims=24,
        num_heads=3,
        num_layers=1,
        temporal=dict(type=temporal),
    )


def test_is_a_block_chosen_by_the_config_of_the_temporal_module():
    assert isinstance(timesformer('JointAttention').blocks[0], JointAttention)
    assert isinstance(timesformer('ATA').blocks[0], DividedBlock)


def test_options_of_the_config_override_those_of_the_backbone():
    joint = build_block(dict(type='JointAttention', num_heads=6), 24, 3, 4, 0)
    assert joint.attn.num_heads == 6


def test_has_the_parameters_of_an_image_block():
    joint, image = map(timesformer, ('JointAttention', 'TemporalAveraging'))
    assert (
        joint.blocks[0].state_dict().keys()
        == image.blocks[0].state_dict().keys()
    )


def test_is_refused_by_backbones_that_need_a_layer():
    with pytest.raises(ValueError, match='is a block of ATATimeSformer'):
        MODELS.build(
            dict(
                type='ATAConvNeXt',
                num_frames=2,
                arch='tiny',
                img_size=32,
                temporal=dict(type='JointAttention'),
            )
        )


def block(temporal, drop_path_rate=0.0):
    return build_block(dict(type=temporal), 24, 3, 4, drop_path_rate)


def clips():
    """Return tokens (B, T, 1+N, C) with one class token per clip."""
    x = torch.randn(2, 4, 10, 24)
    x[:, 1:, 0] = x[:, :1, 0]
    return x


def test_is_an_image_block_on_all_patches_of_a_clip():
    joint, image = block('JointAttention'), block('TemporalAveraging')
    image.load_state_dict(joint.state_dict())
    x = clips()
    tokens = torch.cat([x[:, 0, :1], x[:, :, 1:].reshape(2, 36, 24)], dim=1)
    expected = image(tokens[:, None])[:, 0]
    out = joint(x)
    torch.testing.assert_close(
        out[:, :, 1:].reshape(2, 36, 24), expected[:, 1:]
    )
    torch.testing.assert_close(out[:, :, 0], expected[:, :1].expand(-1, 4, -1))


def test_split_undoes_join():
    x = clips()
    joined = join_frames(x)
    assert joined.shape == (2, 1, 37, 24)
    assert torch.equal(split_frames(joined, 4), x)


def test_joined_frames_have_the_mean_class_token():
    x = torch.randn(2, 4, 10, 24)
    assert torch.equal(join_frames(x)[:, 0, 0], x[:, :, 0].mean(1))


@pytest.mark.parametrize('temporal', ['TemporalAttention', 'JointAttention'])
def test_class_token_is_common_to_the_frames_of_a_clip(temporal):
    tokens = block(temporal)(torch.randn(2, 4, 10, 24))[:, :, 0]
    assert torch.equal(tokens, tokens[:, :1].expand_as(tokens))


def test_stochastic_depth_drops_clips():
    module = block('JointAttention', drop_path_rate=0.5).train()
    x = clips().repeat(32, 1, 1, 1)
    same = (module(x) == x).flatten(1).all(1)
    assert 4 < same.sum() < 32
