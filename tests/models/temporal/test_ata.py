# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.registry import MODELS

from ata_mm.models import ATA, TemporalAttention
from ata_mm.models.embeddings import route_encoding
from ata_mm.ops import AutoMatcher, ExactMatcher
from ata_mm.ops.reference import align_literal, dealign_literal
from ata_mm.registry import MATCHERS


def ata(**options):
    return ATA(24, 3, zero_init=False, **options).eval()


def test_equals_the_literal_algorithm():
    module, x = ata(), torch.randn(1, 5, 12, 24)
    aligned, dealignment = align_literal(x[0].unflatten(1, (3, 4)))
    aligned = aligned.flatten(1, 2)[None]
    stream = aligned + module.branch(aligned)
    expected = dealign_literal(stream[0].unflatten(1, (3, 4)), dealignment)
    torch.testing.assert_close(module(x)[0], expected.flatten(1, 2))


def test_equals_temporal_attention_on_a_still_clip():
    module = ata()
    plain = TemporalAttention(24, 3)
    plain.load_state_dict(module.state_dict())
    still = torch.randn(2, 1, 9, 24) + 0.01 * torch.randn(2, 4, 9, 24)
    torch.testing.assert_close(module(still), plain(still))


def test_is_equivariant_to_the_order_of_patches():
    module, x = ata(), torch.randn(1, 4, 9, 24)
    order = torch.randperm(9)
    torch.testing.assert_close(module(x[:, :, order]), module(x)[:, :, order])


def test_without_dealignment_the_stream_is_in_route_order():
    module, x = ata(dealign=False), torch.randn(2, 4, 9, 24)
    expected = module.alignment(x).align(ata_like(module)(x))
    torch.testing.assert_close(module(x), expected)


def ata_like(module):
    twin = ata()
    twin.load_state_dict(module.state_dict())
    return twin


def test_match_on_content_subtracts_the_position():
    x, position = torch.randn(2, 4, 9, 24), 10 * torch.randn(1, 4, 9, 24)
    routes = ata(match_on='content').alignment(x + position, position).routes
    assert torch.equal(routes, ata().alignment(x).routes)


def test_match_on_tokens_includes_the_position():
    position = 10 * torch.randn(1, 1, 9, 24)
    x = torch.randn(2, 4, 9, 24) + position
    routes = ata().alignment(x, position).routes
    assert torch.equal(routes, torch.arange(9).expand_as(routes))


def test_gradient_flows_along_the_routes():
    module = ata()
    x = torch.randn(1, 3, 9, 24, requires_grad=True)
    routes = module.alignment(x).routes
    module(x)[0, 0, 0].sum().backward()
    touched = x.grad.abs().sum(-1)[0].nonzero().tolist()
    assert touched == [[t, routes[0, t, 0].item()] for t in range(3)]


def test_has_the_state_dict_of_temporal_attention():
    assert (
        ata().state_dict().keys()
        == TemporalAttention(24, 3).state_dict().keys()
    )


def test_matcher_is_chosen_by_config():

    @MATCHERS.register_module(force=True)
    class InPlace:
        def __call__(self, similarity, grid=None):
            num = similarity.shape[-1]
            return torch.arange(num).expand(similarity.shape[:-1])

    module = MODELS.build(
        dict(
            type='ATA',
            embed_dims=24,
            num_heads=3,
            matcher=dict(type='InPlace'),
        )
    )
    x = torch.randn(1, 3, 4, 24)
    assert torch.equal(
        module.alignment(x).routes, torch.arange(4).expand(1, 3, 4)
    )


def test_refuses_a_grid_that_does_not_hold_the_patches():
    with pytest.raises(ValueError, match=r'N = 9 patches, got grid=\(2, 2\)'):
        ata()(torch.randn(1, 2, 9, 24), grid=(2, 2))


def test_unknown_matcher_lists_the_registered_ones():
    with pytest.raises(ValueError, match="'ExactMatcher'.*Hungarian"):
        ata(matcher=dict(type='Hungarian'))


def test_route_encoding_encodes_the_trajectory():
    module, x = ata(route_encoding=True), torch.randn(2, 4, 12, 24)
    alignment = module.alignment(x)
    encoding = module.encode_routes(x, (3, 4), alignment.align)
    positions = torch.stack([alignment.routes // 4, alignment.routes % 4], -1)
    assert torch.equal(encoding, route_encoding(positions, (3, 4), 24))


def test_route_encoding_is_added_in_route_order():
    module, x = ata(route_encoding=True), torch.randn(1, 4, 12, 24)
    alignment = module.alignment(x)
    y = alignment.align(x)
    encoding = module.encode_routes(x, (3, 4), alignment.align)
    branch = module.attn(module.norm(y) + encoding, dim=1)
    expected = alignment.align(module(x, grid=(3, 4)))
    torch.testing.assert_close(y + module.temporal_fc(branch), expected)


def test_route_encoding_needs_dealignment():
    with pytest.raises(ValueError, match='dealign=True'):
        ata(route_encoding=True, dealign=False)


@pytest.mark.parametrize(
    'options',
    [dict(match_on='pixels'), dict(match_on='content', dealign=False)],
)
def test_refuses_invalid_match_on(options):
    with pytest.raises(ValueError, match='match_on'):
        ata(**options)


def test_matches_in_fp32_under_autocast():
    module, x = ata(), torch.randn(1, 4, 49, 24)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        routes = module.alignment(x).routes
    assert torch.equal(routes, module.alignment(x).routes)


def test_matcher_is_auto_by_default_and_may_be_a_name():
    assert isinstance(ata().matcher, AutoMatcher)
    assert isinstance(ata(matcher='ExactMatcher').matcher, ExactMatcher)
