# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F

from ata_mm.ops import (
    ExactMatcher,
    SinkhornMatcher,
    align_frames,
    neighbour_similarity,
)
from ata_mm.ops.matching.similarity import aggregate, pair_similarity


def test_sums_come_closer_to_one_with_iterations():
    x = torch.randn(2, 4, 49, 64)
    off = [
        (SinkhornMatcher(0.2, n).match_frames(x).sum(-2) - 1).abs().max()
        for n in (1, 2, 100)
    ]
    assert off[0] > off[1] > off[2] and off[2] < 1e-4


def test_columns_sum_to_one_by_default():
    sums = SinkhornMatcher().match_frames(torch.randn(2, 4, 49, 64)).sum(-2)
    assert (sums - 1).abs().max() < 0.01


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64])
def test_plans_are_fp32(dtype):
    plan = SinkhornMatcher()(torch.rand(9, 9, dtype=dtype))
    assert plan.dtype == torch.float32


def test_routes_through_many_frames_are_means_of_patches():
    x = torch.randn(1, 32, 49, 8).cumsum(1)
    alignment = align_frames(x, SinkhornMatcher(num_iters=2))
    ones = torch.ones(1, 32, 49, 1)
    torch.testing.assert_close(alignment.align(ones), ones)


def test_tends_to_the_exact_matching_as_the_temperature_falls():
    x = torch.randn(2, 1, 25, 64) + 0.5 * torch.randn(2, 4, 25, 64)
    x[:, 1::2] = x[:, 1::2, torch.randperm(25)]
    exact = F.one_hot(ExactMatcher()(neighbour_similarity(x))).float()
    far = [
        (SinkhornMatcher(t).match_frames(x) - exact).abs().max()
        for t in (1.0, 0.1, 0.01)
    ]
    assert far[0] > 0.5 and far[1] < far[0] and far[2] < 1e-3


def test_total_similarity_is_short_of_the_best_by_the_entropy_at_most():
    similarity = torch.rand(8, 12, 12)
    best = similarity.gather(-1, ExactMatcher()(similarity)[..., None])
    for temperature in (0.3, 0.1, 0.03):
        plan = SinkhornMatcher(temperature, 2000)(similarity)
        short = best.sum((1, 2)) - (plan * similarity).sum((1, 2))
        entropy = -torch.special.xlogy(plan, plan).sum((1, 2))
        assert (short > -1e-3).all()
        assert (short < temperature * entropy + 1e-3).all()


def test_no_preference_gives_a_uniform_plan():
    # Constants added to rows and columns add the same to every plan.
    similarity = torch.randn(2, 6, 1) + torch.randn(2, 1, 6)
    plan = SinkhornMatcher()(similarity)
    torch.testing.assert_close(plan, torch.full((2, 6, 6), 1 / 6))


def test_the_same_from_similarities_as_from_features():
    x, matcher = torch.randn(2, 4, 9, 6), SinkhornMatcher()
    torch.testing.assert_close(
        matcher(neighbour_similarity(x)), matcher.match_frames(x)
    )


@pytest.mark.parametrize('source', [slice(0, 1), slice(0, -1)])
def test_options_apply_to_the_similarities(source):
    x, grid, matcher = torch.randn(2, 4, 12, 6), (3, 4), SinkhornMatcher(0.2)
    plans, accepted = matcher.match_pairs(
        x[:, source], x[:, 1:], grid, 0.1, support_radius=1
    )
    similarity = pair_similarity(x[:, source], x[:, 1:])
    similarity = aggregate(similarity, grid, 1)
    expected = matcher(similarity.clamp_min(0.1))
    torch.testing.assert_close(plans, expected)
    share = torch.where(similarity > 0.1, expected, 0.0).sum(-1)
    assert torch.equal(accepted, share > 0.5)
    assert 0 < accepted.sum() < accepted.numel()


def test_without_a_least_similarity_nothing_is_rejected():
    x = torch.randn(1, 2, 9, 6)
    matching = SinkhornMatcher().match_pairs(x[:, :1], x[:, 1:])
    assert matching.accepted is None


def test_gradients_flow_through_the_options():
    x = torch.randn(2, 1, 2, 12, 6, requires_grad=True)
    plans, _ = SinkhornMatcher(0.2).match_pairs(
        *x, (3, 4), min_similarity=0.0, support_radius=1
    )
    plans.square().sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad.abs().sum((-1, -2)) > 0).all()


@pytest.mark.parametrize('grid', [None, (2, 3)])
def test_support_needs_the_grid(grid):
    x = torch.randn(1, 2, 9, 6)
    with pytest.raises(ValueError, match='N = 9 patches'):
        SinkhornMatcher().match_pairs(x[:, :1], x[:, 1:], grid, None, 1)


def test_gradients_are_those_of_the_iterations():
    matcher = SinkhornMatcher(0.5, num_iters=3)
    scores = torch.randn(2, 3, 3, requires_grad=True)
    weight = torch.randn(2, 3, 3)
    # The same by products with the kernel exp(S / tau).
    plan = (scores / 0.5).exp()
    for _ in range(3):
        plan = plan / plan.sum(-2, keepdim=True)
        plan = plan / plan.sum(-1, keepdim=True)
    (expected,) = torch.autograd.grad((plan * weight).sum(), scores)
    (found,) = torch.autograd.grad((matcher(scores) * weight).sum(), scores)
    torch.testing.assert_close(found, expected)


def test_autograd_saves_no_plan_of_each_iteration():
    saved = {}

    def note(tensor):
        if tensor.numel() >= 64**2:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    x = torch.randn(1, 2, 64, 4, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        SinkhornMatcher(num_iters=100).match_frames(x)
    assert len(saved) < 5


def test_refuses_more_patches_than_fit():
    with pytest.raises(ValueError, match='at most 8 patches.*N = 9'):
        SinkhornMatcher(max_patches=8)(torch.rand(9, 9))
    with pytest.raises(ValueError, match='at most 8 patches.*N = 9'):
        SinkhornMatcher(max_patches=8).match_frames(torch.rand(1, 2, 9, 4))


@pytest.mark.parametrize(
    'options',
    [
        dict(temperature=0.0),
        dict(temperature='0.1'),
        dict(temperature=float('nan')),
        dict(num_iters=0),
        dict(max_patches=0),
    ],
)
def test_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=f'Expected .*{next(iter(options))}'):
        SinkhornMatcher(**options)
