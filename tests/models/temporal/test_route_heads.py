# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""ATA with some heads along the routes and the others in place."""

import itertools

import pytest
import torch

from ata_mm.models import ATA, TemporalAttention
from ata_mm.ops import Alignment

TIME_BIAS = dict(num_frames=4, time_bias_std=1.0)
OPTIONS = dict(
    reference='first', refine=1, min_similarity=0.2, support_radius=1
)
MODULES = [
    {},
    TIME_BIAS,
    dict(route_encoding=True),
    dict(OPTIONS, route_encoding=True, **TIME_BIAS),
]
GRID = (2, 3)

every_number = pytest.mark.parametrize('heads', [None, 1, 2, 3])
each = pytest.mark.parametrize('options', MODULES, ids=str)


def ata(route_heads, **options):
    torch.manual_seed(0)
    return ATA(
        24, 3, zero_init=False, route_heads=route_heads, **options
    ).eval()


def attention_literally(module, x, alignment, heads):
    """Attend query by query, by the definition.

    Args:
        module (ATA): With the weights.
        x (Tensor): (1, T, N, C).
        alignment (Alignment): The routes.
        heads (int): Number of heads along them.
    """
    _, frames, num, _ = x.shape
    [routes], segments = alignment.routes, alignment.segments
    [qkv] = module.attn.qkv(module.norm(x)).unflatten(-1, (3, 3, 8))
    out = torch.zeros(frames, num, 3, 8)
    for t, n, head in itertools.product(*map(range, (frames, num, 3))):
        seen = [(s, n) for s in range(frames)]
        if head < heads:
            route = routes[t].tolist().index(n)
            seen = [
                (s, routes[s, route])
                for s in range(frames)
                if segments is None
                or segments[0, s, route] == segments[0, t, route]
            ]
        logits = torch.stack(
            [
                qkv[t, n, 0, head] @ qkv[s, patch, 1, head] / 8**0.5
                for s, patch in seen
            ]
        )
        if module.time_bias is not None:
            logits = logits + torch.stack(
                [module.time_bias[head, t - s + frames - 1] for s, _ in seen]
            )
        values = torch.stack([qkv[s, patch, 2, head] for s, patch in seen])
        out[t, n, head] = logits.softmax(0) @ values
    return x + module.temporal_fc(module.attn.proj(out.flatten(-2)))[None]


@pytest.mark.parametrize('options', [{}, TIME_BIAS], ids=str)
@pytest.mark.parametrize('rejecting', [False, True])
@every_number
def test_equals_attention_query_by_query(heads, rejecting, options):
    module, x = ata(heads, **options), torch.randn(1, 4, 6, 24)
    matching = torch.rand(1, 3, 6).argsort(-1)
    accepted = torch.rand(1, 3, 6) < 0.7 if rejecting else None
    alignment = Alignment.from_matching(matching, accepted)
    expected = attention_literally(module, x, alignment, heads or 3)
    torch.testing.assert_close(module(x, alignment=alignment), expected)


def results(module, x):
    """Return the output of a module, and the gradients of a loss."""
    x = x.clone().requires_grad_()
    y = module(x, None, GRID)
    y.square().sum().backward()
    return [y, x.grad, *(p.grad for p in module.parameters())]


@each
def test_all_heads_are_the_default(options):
    x = torch.randn(2, 4, 6, 24)
    all_heads, default = (
        results(ata(heads, **options), x) for heads in (3, None)
    )
    torch.testing.assert_close(all_heads, default)


@pytest.mark.parametrize('options', MODULES[:3], ids=str)
@every_number
def test_equals_temporal_attention_on_a_still_clip(heads, options):
    module = ata(heads, **options)
    plain = TemporalAttention(24, 3, **options).eval()
    plain.load_state_dict(module.state_dict())
    still = torch.randn(2, 1, 6, 24) + 0.01 * torch.randn(2, 4, 6, 24)
    torch.testing.assert_close(results(module, still), results(plain, still))


def test_heads_in_place_are_those_of_temporal_attention():
    module = ata(1)
    with torch.no_grad():  # the output of the head along the routes
        module.attn.proj.weight[:, :8] = 0
    plain = TemporalAttention(24, 3).eval()
    plain.load_state_dict(module.state_dict())
    x = torch.randn(2, 4, 6, 24)
    torch.testing.assert_close(module(x), plain(x))


@each
@every_number
def test_has_the_parameters_of_temporal_attention(heads, options):
    shared = {k: v for k, v in options.items() if k not in OPTIONS}
    module, plain = ata(heads, **options), TemporalAttention(24, 3, **shared)
    module.load_state_dict(plain.state_dict(), strict=True)
    plain.load_state_dict(module.state_dict(), strict=True)
    names = [dict(m.named_parameters()).keys() for m in (module, plain)]
    assert names[0] == names[1]


@pytest.mark.parametrize('matcher', ['SinkhornMatcher', 'DisplacementMatcher'])
@each
def test_differentiable_matchers_get_gradients(matcher, options):
    module = ata(2, matcher=dict(type=matcher, temperature=0.2), **options)
    x = torch.randn(2, 1, 6, 24) + 0.5 * torch.randn(2, 4, 6, 24)
    x.requires_grad_()
    alignment = module.alignment(x, grid=GRID)
    y = module(x.detach(), None, GRID, alignment)
    y.square().sum().backward()
    assert y.shape == x.shape
    assert x.grad.isfinite().all() and x.grad.abs().max() > 0


@pytest.mark.parametrize('heads', [1, 2])
def test_stochastic_depth_drops_positions(heads):
    module = ata(heads, drop_path_rate=0.5).train()
    with torch.no_grad():
        module.temporal_fc.bias.zero_()
    x = torch.randn(1, 4, 64, 24)
    dropped = (module(x) == x).all(-1)  # (1, 4, 64)
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert 8 < dropped[0, 0].sum() < 56


def test_works_in_half_precision():
    module, x = ata(2, **TIME_BIAS, **OPTIONS), torch.randn(2, 4, 6, 24)
    alignment = module.alignment(x, grid=GRID)
    with torch.autocast('cpu', torch.bfloat16):
        y = module(x, grid=GRID, alignment=alignment)
    expected = module(x, grid=GRID, alignment=alignment)
    torch.testing.assert_close(y, expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize('heads', [0, -1, 4, 1.5, '2'])
def test_refuses_numbers_of_heads_out_of_range(heads):
    with pytest.raises(ValueError, match='from 1 to num_heads=3, got'):
        ata(heads)


def test_needs_dealignment():
    with pytest.raises(ValueError, match='dealign=True with route_heads=2'):
        ata(2, dealign=False)
