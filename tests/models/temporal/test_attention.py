# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.models.common import DividedTemporalAttentionWithNorm
from torch import nn

from ata_mm.models import TemporalAttention
from ata_mm.models.embeddings import route_encoding
from ata_mm.models.temporal import SelfAttention


@pytest.mark.parametrize('dim', [1, 2])
def test_self_attention_equals_multihead_attention_of_torch(dim):
    ours = SelfAttention(24, num_heads=3)
    peer = nn.MultiheadAttention(24, 3, batch_first=True)
    peer.load_state_dict(
        {
            'in_proj_weight': ours.qkv.weight,
            'in_proj_bias': ours.qkv.bias,
            'out_proj.weight': ours.proj.weight,
            'out_proj.bias': ours.proj.bias,
        }
    )
    x = torch.randn(2, 5, 7, 24)
    moved = x.movedim(dim, 2)
    rows = moved.flatten(0, 1)
    expected = peer(rows, rows, rows)[0].view(moved.shape).movedim(2, dim)
    torch.testing.assert_close(ours(x, dim), expected, atol=1e-5, rtol=0)


def test_self_attention_refuses_heads_that_do_not_divide_channels():
    with pytest.raises(ValueError, match='num_heads=5 and embed_dims=24'):
        SelfAttention(24, num_heads=5)


def test_equals_temporal_attention_of_mmaction2():
    ours = TemporalAttention(24, 3, zero_init=False).eval()
    peer = DividedTemporalAttentionWithNorm(
        24, 3, num_frames=4, norm_cfg=dict(type='LN', eps=1e-6)
    ).eval()
    names = dict(
        qkv_weight='in_proj_weight',
        qkv_bias='in_proj_bias',
        proj_weight='out_proj.weight',
        proj_bias='out_proj.bias',
    )
    peer.attn.load_state_dict(
        {
            theirs: ours.attn.get_parameter(name.replace('_', '.'))
            for name, theirs in names.items()
        }
    )
    peer.temporal_fc.load_state_dict(ours.temporal_fc.state_dict())
    x = torch.randn(2, 4, 9, 24)
    tokens = x.transpose(1, 2).flatten(1, 2)  # theirs: patches before frames
    tokens = torch.cat([torch.zeros(2, 1, 24), tokens], 1)
    expected = peer(tokens)[:, 1:].view(2, 9, 4, 24).transpose(1, 2)
    torch.testing.assert_close(ours(x), expected, atol=1e-6, rtol=0)


def test_starts_as_the_identity():
    x = torch.randn(2, 4, 9, 24)
    assert torch.equal(TemporalAttention(24, 3)(x), x)


def test_positions_are_independent():
    module = TemporalAttention(24, 3, zero_init=False)
    x = torch.randn(1, 4, 9, 24)
    one = module(x[:, :, 2:3])
    torch.testing.assert_close(module(x)[:, :, 2:3], one)


@pytest.mark.parametrize('channels', [96, 768])
def test_has_five_times_the_squared_channels_as_weights(channels):
    module = TemporalAttention(channels, 3)
    weights = sum(p.numel() for p in module.parameters() if p.ndim == 2)
    assert weights == 5 * channels**2


def test_time_bias_depends_on_the_distance_in_time():
    module = TemporalAttention(24, 3, num_frames=4, time_bias_std=1.0)
    bias = module.time_bias[:, module.distance]
    assert torch.equal(bias[:, 1:, 1:], bias[:, :-1, :-1])
    assert torch.equal(bias[:, 3, 0], module.time_bias[:, 6])


def test_large_time_bias_restricts_attention_to_one_frame():
    module = TemporalAttention(
        24, 3, num_frames=4, zero_init=False, time_bias_std=1.0
    )
    with torch.no_grad():
        module.time_bias.fill_(-100)
        module.time_bias[:, 3 + 1] = 100  # the frame before
    x = torch.randn(1, 4, 1, 24)
    changed = x.clone()
    changed[:, 1] = torch.randn(24)
    difference = (module.branch(changed) - module.branch(x)).abs().amax(-1)
    # No frame precedes the first one, which attends to all frames equally.
    seen = (difference[0, :, 0] > 1e-4).tolist()
    assert seen == [True, False, True, False]


def test_time_bias_needs_num_frames():
    with pytest.raises(ValueError, match='Expected num_frames'):
        TemporalAttention(24, 3, time_bias_std=1.0)


def test_stochastic_depth_drops_positions():
    module = TemporalAttention(
        24, 3, drop_path_rate=0.5, zero_init=False
    ).train()
    x = torch.randn(1, 4, 64, 24)
    module.temporal_fc.bias.data.zero_()
    dropped = module.branch(x).abs().sum((1, 3))[0] == 0
    assert 8 < dropped.sum() < 56


def test_stochastic_depth_keeps_the_mean():
    module = TemporalAttention(24, 3, drop_path_rate=0.5, zero_init=False)
    x = torch.randn(1, 4, 1, 24).expand(-1, -1, 20000, -1)
    expected = module.eval().branch(x).mean(2)
    torch.testing.assert_close(
        module.train().branch(x).mean(2), expected, atol=0.05, rtol=0.05
    )


def test_route_encoding_distinguishes_positions():
    module = TemporalAttention(24, 3, zero_init=False, route_encoding=True)
    still = torch.randn(1, 4, 1, 24).expand(-1, -1, 6, -1)
    out = module(still, grid=(2, 3))
    assert (out[:, :, 1:] - out[:, :, :1]).abs().amax((0, 1, 3)).min() > 0.01


def test_route_encoding_without_routes_has_constant_positions():
    module = TemporalAttention(24, 3, route_encoding=True)
    encoding = module.encode_routes(torch.randn(2, 4, 6, 24), (2, 3))
    still = torch.arange(6)
    expected = torch.stack([still // 3, still % 3], -1).expand(1, 2, 6, 2)
    assert torch.equal(
        encoding.expand(1, 2, 6, 24), route_encoding(expected, (2, 3), 24)
    )


@pytest.mark.parametrize('grid', [None, (2, 4)])
def test_route_encoding_needs_the_grid(grid):
    module = TemporalAttention(24, 3, route_encoding=True)
    with pytest.raises(ValueError, match='N = 6 patches, which route_enc'):
        module(torch.randn(2, 4, 6, 24), grid=grid)


def test_route_encoding_needs_channels_divisible_by_eight():
    with pytest.raises(ValueError, match='multiple of 8.*got 12'):
        TemporalAttention(12, 3, route_encoding=True)
