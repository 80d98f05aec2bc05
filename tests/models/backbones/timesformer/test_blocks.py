# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.models.backbones.timesformer.joint import (
    join_frames,
    split_frames,
)
from ata_mm.models.backbones.timesformer.timesformer import build_block


def block(temporal, drop_path_rate=0.):
    return build_block(dict(type=temporal), 24, 3, 4, drop_path_rate)


def clips():
    """(B, T, 1+N, C) with one class token a clip."""
    x = torch.randn(2, 4, 10, 24)
    x[:, 1:, 0] = x[:, :1, 0]
    return x


def test_joint_attention_is_an_image_block_on_all_patches_of_a_clip():
    joint, image = block('JointAttention'), block('TemporalAveraging')
    image.load_state_dict(joint.state_dict())
    x = clips()
    tokens = torch.cat([x[:, 0, :1], x[:, :, 1:].reshape(2, 36, 24)], dim=1)
    expected = image(tokens[:, None])[:, 0]
    out = joint(x)
    torch.testing.assert_close(out[:, :, 1:].reshape(2, 36, 24), expected[:,
                                                                          1:])
    torch.testing.assert_close(out[:, :, 0], expected[:, :1].expand(-1, 4, -1))


def test_split_undoes_join():
    x = clips()
    joined = join_frames(x)
    assert joined.shape == (2, 1, 37, 24)
    assert torch.equal(split_frames(joined, 4), x)


@pytest.mark.parametrize('temporal', ['TemporalAttention', 'JointAttention'])
def test_class_token_is_one_a_clip_where_frames_meet(temporal):
    tokens = block(temporal)(torch.randn(2, 4, 10, 24))[:, :, 0]
    assert torch.equal(tokens, tokens[:, :1].expand_as(tokens))


def test_stochastic_depth_of_joint_attention_drops_clips():
    module = block('JointAttention', drop_path_rate=0.5).train()
    x = clips().repeat(32, 1, 1, 1)
    same = (module(x) == x).flatten(1).all(1)
    assert 4 < same.sum() < 32
