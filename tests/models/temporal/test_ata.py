# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.registry import MODELS

from ata_mm.models import ATA, TemporalAttention
from ata_mm.models.embeddings import route_encoding
from ata_mm.ops import Alignment, AutoMatcher, ExactMatcher, align_frames
from ata_mm.ops.reference import align_literal, dealign_literal
from ata_mm.registry import MATCHERS

OPTIONS = dict(
    reference='first', refine=1, min_similarity=0.2, support_radius=1
)
TIME_BIAS = dict(num_frames=4, time_bias_std=1.0)


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


def test_options_are_those_of_align_frames():
    x = torch.randn(2, 4, 12, 24)
    found = ata(**OPTIONS).alignment(x, grid=(3, 4))
    expected = align_frames(x, grid=(3, 4), **OPTIONS)
    assert torch.equal(found.routes, expected.routes)
    assert torch.equal(found.segments, expected.segments)


@pytest.mark.parametrize('option', OPTIONS)
def test_alignments_of_other_options_have_another_key(option):
    key = ata().alignment_key()
    assert ata().alignment_key() == key
    assert ata(**{option: OPTIONS[option]}).alignment_key() != key


def test_routes_do_not_depend_on_how_many_heads_follow_them():
    assert ata(route_heads=1).alignment_key() == ata().alignment_key()


def test_options_are_shown():
    assert 'refine=1, min_similarity=0.2' in repr(ata(**OPTIONS))


@pytest.mark.parametrize(
    'option',
    [
        dict(reference='next'),
        dict(reference=0),
        dict(refine=-1),
        dict(min_similarity=1.0),
        dict(support_radius=-1),
    ],
    ids=str,
)
def test_refuses_alignment_options_out_of_range(option):
    [(name, value)] = option.items()
    with pytest.raises(ValueError, match=f'Expected {name}.*got {value!r}'):
        ata(**option)


@pytest.mark.parametrize('options', [{}, TIME_BIAS], ids=str)
@pytest.mark.parametrize('dealign', [True, False])
def test_attention_does_not_cross_a_rejected_match(options, dealign):
    module = ata(dealign=dealign, **options)
    x = torch.randn(1, 4, 9, 24)
    matching = torch.rand(1, 3, 9).argsort(-1)
    accepted = torch.ones(1, 3, 9) > 0
    accepted[0, 1] = False  # frames 0 and 1 | frames 2 and 3
    alignment = Alignment.from_matching(matching, accepted)
    before = module(x, alignment=alignment)
    x[:, 2:] = torch.randn(1, 2, 9, 24)
    after = module(x, alignment=alignment)
    torch.testing.assert_close(after[:, :2], before[:, :2])
    assert ((after - before)[:, 2:].abs().amax(-1) > 1e-3).all()


@pytest.mark.parametrize('options', [{}, TIME_BIAS], ids=str)
@pytest.mark.parametrize('reference', ['previous', 'first'])
def test_nothing_changes_where_nothing_is_rejected(options, reference):
    options = dict(options, reference=reference)
    module, x = ata(**options), torch.randn(2, 4, 9, 24)
    twin = ata(min_similarity=-1.0, **options)
    twin.load_state_dict(module.state_dict())
    assert torch.equal(twin(x), module(x))


@pytest.mark.parametrize('options', [{}, TIME_BIAS], ids=str)
def test_gradients_are_finite_where_everything_is_rejected(options):
    module = ata(min_similarity=0.99, **options)
    x = torch.randn(2, 4, 9, 24, requires_grad=True)
    assert not module.alignment(x).accepted[:, 1:].any()
    module(x).square().sum().backward()
    grads = [x.grad, *(p.grad for p in module.parameters())]
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize('options', [{}, dict(OPTIONS, route_heads=2)])
def test_compiles_with_a_break_at_the_matching_alone(options):
    module, x = ata(**options), torch.randn(1, 4, 12, 24)
    torch._dynamo.reset()
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph

    compiled = torch.compile(module, backend=count)
    torch.testing.assert_close(
        compiled(x, None, (3, 4)), module(x, None, (3, 4))
    )
    assert len(graphs) == 1  # what follows the matching
    torch._dynamo.reset()


def test_matches_in_fp32_under_autocast():
    module, x = ata(), torch.randn(1, 4, 49, 24)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        routes = module.alignment(x).routes
    assert torch.equal(routes, module.alignment(x).routes)


def test_matcher_is_auto_by_default_and_may_be_a_name():
    assert isinstance(ata().matcher, AutoMatcher)
    assert isinstance(ata(matcher='ExactMatcher').matcher, ExactMatcher)
