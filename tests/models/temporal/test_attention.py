# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F
from mmaction.models.common import DividedTemporalAttentionWithNorm
from torch import nn

from ata_mm.models import ATA, TemporalAttention
from ata_mm.models.embeddings import route_encoding
from ata_mm.models.temporal import SelfAttention
from ata_mm.models.temporal.attention import (
    attend_in_parts,
    directed_time_bias,
)

TIME_BIAS = dict(num_frames=5, time_bias_std=1.0)


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


@pytest.mark.parametrize(
    'shape', [None, (2, 5, 5), (7, 1, 5, 5), (1, 2, 5, 5)]
)
def test_a_large_batch_attends_part_by_part(shape):
    qkv = torch.randn(3, 7, 2, 5, 4)
    bias = None if shape is None else torch.randn(shape)
    torch.testing.assert_close(
        attend_in_parts(*qkv, bias, size=3),
        F.scaled_dot_product_attention(*qkv, bias),
    )


def test_some_heads_attend_as_they_do_among_all():
    module, x = SelfAttention(24, num_heads=3), torch.randn(2, 5, 7, 24)
    qkv, bias = module.project(x), torch.randn(3, 5, 5)
    every = module.attend(qkv, dim=1, bias=bias)
    some = module.attend(qkv[..., 1:, :], dim=1, bias=bias[1:])
    torch.testing.assert_close(some, every[..., 8:])


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
    bias = module.logit_bias()
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


SEGMENTS = torch.tensor([0, 1, 0, 0, 1])


@pytest.mark.parametrize('segment', [0, 1])
def test_frames_of_a_segment_attend_to_each_other_alone(segment):
    module = TemporalAttention(24, 3, zero_init=False)
    x = torch.randn(2, 5, 9, 24)
    segments = torch.randint(3, (2, 5, 9))
    segments[1, :, 4] = SEGMENTS  # of one route of one clip
    frames = segment == SEGMENTS
    torch.testing.assert_close(
        module.branch(x, segments=segments)[1, frames, 4],
        module.branch(x[1:, frames, 4:5])[0, :, 0],
    )


@pytest.mark.parametrize('options', [{}, TIME_BIAS])
def test_a_single_segment_changes_nothing(options):
    module = TemporalAttention(24, 3, zero_init=False, **options)
    x, segments = torch.randn(2, 5, 9, 24), torch.zeros(2, 5, 9).long()
    assert torch.equal(module.branch(x, segments=segments), module.branch(x))
    if not options:  # the fused kernel without a mask is the fastest
        assert module.logit_bias(segments) is None


@pytest.mark.parametrize('options', [{}, TIME_BIAS])
def test_frames_alone_have_finite_gradients(options):
    module = TemporalAttention(24, 3, zero_init=False, **options)
    x = torch.randn(2, 5, 9, 24, requires_grad=True)
    segments = torch.arange(5)[:, None].expand(2, 5, 9)
    module.branch(x, segments=segments).square().sum().backward()
    grads = [x.grad, *(p.grad for p in module.parameters())]
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize('options', [{}, TIME_BIAS])
def test_segments_work_in_half_precision(options):
    module = TemporalAttention(24, 3, zero_init=False, **options)
    x, segments = torch.randn(2, 5, 9, 24), torch.randint(2, (2, 5, 9))
    expected = module.branch(x, segments=segments)
    with torch.autocast('cpu', torch.bfloat16):
        y = module.branch(x, segments=segments)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, atol=0.05, rtol=0.05)
    y = module.bfloat16().branch(x.bfloat16(), segments=segments)
    torch.testing.assert_close(y.float(), expected, atol=0.05, rtol=0.05)


def test_time_bias_of_some_heads():
    module = TemporalAttention(24, 3, num_frames=5, time_bias_std=1.0)
    segments = torch.randint(2, (2, 5, 9))
    for given in (None, segments):
        bias, some = (
            module.logit_bias(given, heads)
            for heads in (slice(None), slice(1, None))
        )
        assert torch.equal(some, bias[..., 1:, :, :])


def test_directed_heads_look_back_and_forward():
    bias = directed_time_bias(2, 4, [1.0])
    assert bias[0].tolist() == [-3, -3, -3, -3, 0, -1, -2]
    assert torch.equal(bias[1], bias[0].flip(0))


def test_pairs_of_directed_heads_alternate_between_the_slopes():
    bias = directed_time_bias(6, 3, [2.0, 0.5])
    assert bias[::2, -1].tolist() == [-2, -0.5, -2]
    assert bias[1::2, 0].tolist() == [-2, -0.5, -2]


def test_time_bias_starts_at_the_slopes():
    module = TemporalAttention(24, 2, num_frames=4, time_bias_slopes=[1.0])
    assert torch.equal(module.time_bias, directed_time_bias(2, 4, [1.0]))


def test_attention_with_a_steep_slope_sees_the_frame_before():
    module = TemporalAttention(
        16, 2, num_frames=4, zero_init=False, time_bias_slopes=[50.0]
    )
    with torch.no_grad():
        module.time_bias[module.time_bias == -3] = -100
        module.time_bias[1] = module.time_bias[0]
    x = torch.randn(1, 4, 1, 16)
    changed = x.clone()
    changed[:, 1] = torch.randn(16)
    difference = (module.branch(changed) - module.branch(x)).abs().amax(-1)
    assert (difference[0, 1:, 0] > 1e-4).tolist() == [False, True, False]


def test_a_trace_keeps_the_mask_of_rejected_matches():
    module = ATA(24, 3, zero_init=False, min_similarity=0.2).eval()
    x = torch.randn(1, 4, 9, 24)
    with torch.no_grad():
        traced = torch.jit.trace(module, torch.ones(1, 4, 9, 24))
        torch.testing.assert_close(traced(x), module(x))


@pytest.mark.parametrize('route_heads', [None, 1])
def test_time_bias_refuses_clips_of_another_length(route_heads):
    module = ATA(24, 3, route_heads=route_heads, **TIME_BIAS)
    with pytest.raises(ValueError, match='clips of 5 frames.*got 4'):
        module(torch.randn(1, 4, 6, 24))


def test_time_bias_is_that_of_weights_assigned_to_a_model_without():
    """As large models are loaded: built without memory for the weights."""
    trained = TemporalAttention(24, 3, zero_init=False, **TIME_BIAS)
    with torch.device('meta'):
        module = TemporalAttention(24, 3, zero_init=False, **TIME_BIAS)
    module.load_state_dict(trained.state_dict(), assign=True)
    x = torch.randn(1, 5, 6, 24)
    assert torch.equal(module(x), trained(x))


@pytest.mark.parametrize(
    'slopes', [(), 0.5, 'steep', (1.0, 'flat'), (float('nan'),)]
)
def test_refuses_slopes_that_are_none(slopes):
    with pytest.raises(ValueError, match='at least one finite number'):
        TemporalAttention(24, 3, num_frames=5, time_bias_slopes=slopes)


def test_refuses_no_heads():
    with pytest.raises(ValueError, match='num_heads=0'):
        TemporalAttention(24, 0)


@pytest.mark.parametrize(
    'options, named',
    [
        (dict(time_bias_std=1.0), 'time_bias_std=1.0 .*slopes=None'),
        (dict(time_bias_slopes=[2.0]), r'time_bias_std=None .*slopes=\[2.0\]'),
    ],
)
def test_time_bias_needs_num_frames(options, named):
    with pytest.raises(ValueError, match=f'Expected num_frames with {named}'):
        TemporalAttention(24, 3, **options)


@pytest.mark.parametrize('num_frames', [0, -1, '8', 8.0])
def test_time_bias_needs_a_number_of_frames(num_frames):
    with pytest.raises(ValueError, match='Expected num_frames to be'):
        TemporalAttention(24, 3, num_frames=num_frames, time_bias_std=1.0)


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
