# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F

from ata_mm.ops import (
    Alignment,
    ExactMatcher,
    SinkhornMatcher,
    SoftAlignment,
    align_frames,
)


def soft(x, temperature=0.05, num_iters=200):
    return align_frames(x, SinkhornMatcher(temperature, num_iters))


def test_plans_of_permutations_are_hard_routes():
    x = torch.randn(2, 4, 9, 6)
    hard = align_frames(x)

    def one_hot(similarity):
        return F.one_hot(ExactMatcher()(similarity)).float()

    alignment = align_frames(x, one_hot)
    assert torch.equal(alignment.routes, hard.routes)
    assert torch.equal(alignment.align(x), hard.align(x))
    assert torch.equal(alignment.dealign(x), hard.dealign(x))


def random_matching():
    """Return permutations, their plans, and which matches are accepted."""
    matching = torch.rand(2, 4, 9).argsort(-1)
    return matching, F.one_hot(matching).float(), torch.rand(2, 4, 9) < 0.7


@pytest.mark.parametrize('anchors', [None, (0, 0, 0, 0), (0, 0, 2, 2)])
@pytest.mark.parametrize('part', [lambda a: a, lambda a: a.clip(1)])
def test_plans_of_permutations_are_accepted_as_hard_routes(anchors, part):
    matching, plans, accepted = random_matching()
    hard = part(Alignment.from_matching(matching, accepted, anchors))
    alignment = part(SoftAlignment.from_matching(plans, accepted, anchors))
    assert torch.equal(alignment.places, hard.routes)
    assert torch.equal(alignment.accepted, hard.accepted)
    assert torch.equal(alignment.segments, hard.segments)


def test_plans_of_permutations_are_rematched_as_hard_routes():
    matching, plans, accepted = random_matching()
    again, plans_again, accepted_again = random_matching()
    hard = Alignment.from_matching(matching, accepted)
    hard = hard.rematch(again, accepted_again)
    alignment = SoftAlignment.from_matching(plans, accepted)
    alignment = alignment.rematch(plans_again, accepted_again)
    assert torch.equal(alignment.places, hard.routes)
    assert torch.equal(alignment.accepted, hard.accepted)
    assert torch.equal(alignment.segments, hard.segments)


def test_everything_is_accepted_by_default():
    alignment = soft(torch.randn(2, 4, 9, 6))
    assert alignment.segments is None and alignment.accepted.all()
    assert 'routes' not in vars(alignment)  # a solve for each frame
    assert alignment.clip(0).segments is None


def test_places_are_the_patches_of_the_largest_weight():
    plans = torch.rand(1, 2, 9, 9).softmax(-1)
    places = SoftAlignment(plans).places
    assert torch.equal(places, plans.max(-1).indices)


@pytest.mark.parametrize('autocast', [False, True])
def test_a_route_is_accepted_if_most_of_its_weight_is(autocast):
    plan = torch.tensor([[0.501, 0.499], [0.499, 0.501]])
    plans, accepted = plan.expand(1, 2, 2, 2), torch.tensor([[[1, 0]] * 2]) > 0
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        alignment = SoftAlignment.from_matching(plans, accepted)
    # Into frame 1 from the patches themselves, into frame 2 by the plan.
    assert alignment.accepted.tolist() == [
        [[True, True]] + [[True, False]] * 2
    ]


def test_routes_compose_by_matrix_product():
    x = torch.randn(2, 4, 9, 6)
    plans = SinkhornMatcher().match_frames(x)
    composed = plans[:, 0] @ plans[:, 1] @ plans[:, 2]
    torch.testing.assert_close(soft(x, num_iters=50).plans[:, 3], composed)


def test_dealign_is_the_adjoint_of_align():
    x, y = torch.randn(2, 2, 4, 9, 6).double()
    alignment = soft(x)
    torch.testing.assert_close(
        (alignment.align(x) * y).sum(), (x * alignment.dealign(y)).sum()
    )


def test_frame_0_keeps_its_order():
    x = torch.randn(2, 4, 9, 6)
    assert torch.equal(soft(x).align(x)[:, 0], x[:, 0])


def test_a_constant_is_preserved():
    ones = torch.ones(2, 4, 9, 1)
    alignment = soft(torch.randn(2, 4, 9, 32), temperature=0.5)
    torch.testing.assert_close(alignment.align(ones), ones, atol=1e-3, rtol=0)
    torch.testing.assert_close(
        alignment.dealign(ones), ones, atol=1e-3, rtol=0
    )


def test_round_trip_loses_less_at_a_lower_temperature():
    x = torch.randn(1, 1, 9, 64) + 0.5 * torch.randn(1, 3, 9, 64)
    lost = [
        (x - a.dealign(a.align(x)))[:, 1:].norm() / x[:, 1:].norm()
        for a in (soft(x, t) for t in (1e4, 0.2, 0.05, 0.005))
    ]
    assert lost == sorted(lost, reverse=True)
    assert lost[-1] < 1e-3


def test_round_trip_of_uniform_plans_is_the_mean():
    x = torch.randn(1, 3, 9, 32)
    alignment = soft(x, temperature=1e6)
    mean = x.mean(2, keepdim=True).expand_as(x)
    torch.testing.assert_close(
        alignment.dealign(alignment.align(x))[:, 1:], mean[:, 1:]
    )


def test_routes_are_the_nearest_permutations():
    permutation = F.one_hot(torch.rand(2, 4, 9).argsort(-1), 9).float()
    alignment = SoftAlignment(0.6 * permutation + 0.4 / 9)
    assert torch.equal(alignment.routes, permutation.argmax(-1))


def test_is_an_alignment():
    assert isinstance(
        SoftAlignment(torch.eye(4).expand(1, 2, 4, 4)), Alignment
    )


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_keeps_the_precision_of_features(dtype):
    x = torch.randn(1, 3, 9, 6).to(dtype)
    alignment = soft(x)
    assert alignment.plans.dtype == torch.float32
    assert alignment.dealign(alignment.align(x)).dtype == dtype


def test_positions_are_not_rounded_under_autocast():
    x, positions = torch.randn(1, 3, 9, 6), torch.rand(1, 3, 9, 2)
    alignment = soft(x)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        under = soft(x).align(positions)
    assert torch.equal(under, alignment.align(positions))


def test_rematched_plans_are_not_rounded_under_autocast():
    first, again = torch.rand(2, 1, 3, 9, 9).softmax(-1)
    alignment = SoftAlignment.from_matching(first)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        under = alignment.rematch(again)
    assert torch.equal(under.plans, alignment.rematch(again).plans)


@pytest.mark.parametrize(
    'plans', [torch.rand(1, 2, 3, 4), torch.rand(2, 3, 3), torch.eye(3).long()]
)
def test_refuses_what_is_not_a_plan(plans):
    with pytest.raises(ValueError, match=r'\(B, T, N, N\)'):
        SoftAlignment(plans)


def test_refuses_matchings_that_are_no_plans():
    with pytest.raises(ValueError, match=r'\(B, T-1, N, N\)'):
        SoftAlignment.from_matching(torch.rand(1, 2, 3, 4))


@pytest.mark.parametrize(
    'options',
    [
        dict(accepted=torch.ones(2, 5, 9) > 0),
        dict(anchors=[0]),
        dict(anchors=[0, 0, 3, 0]),
    ],
)
@pytest.mark.parametrize('build', [SoftAlignment, SoftAlignment.from_matching])
def test_refuses_what_does_not_fit_the_plans(build, options):
    _, plans, _ = random_matching()
    frames = 3 if build is SoftAlignment else 4
    (name,) = options
    with pytest.raises(ValueError, match=f'Expected {name}'):
        build(plans[:, :frames], **options)


def test_refuses_plans_of_another_clip():
    _, plans, accepted = random_matching()
    alignment = SoftAlignment.from_matching(plans)
    with pytest.raises(ValueError, match='Expected matching'):
        alignment.rematch(plans[:1])
    with pytest.raises(ValueError, match='Expected accepted'):
        alignment.rematch(plans, accepted[:, 1:])


def test_refuses_features_of_another_clip():
    alignment = SoftAlignment(torch.eye(4).expand(1, 2, 4, 4))
    with pytest.raises(ValueError, match=r'\(1, 2, 4\), got \(1, 3, 4, 5\)'):
        alignment.align(torch.randn(1, 3, 4, 5))


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64, torch.bool])
def test_integers_have_no_weighted_means(dtype):
    alignment = soft(torch.randn(1, 2, 9, 6))
    x = torch.ones(1, 2, 9, 6, dtype=dtype)
    for apply in (alignment.align, alignment.dealign):
        with pytest.raises(ValueError, match=f'floating-point.*{dtype}'):
            apply(x)
