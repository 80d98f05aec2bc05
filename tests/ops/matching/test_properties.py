# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Properties that matchers have in common.

`AutoMatcher` and the solvers of `ExactMatcher` are left out: they delegate,
and are compared with each other in their own tests.
"""

import copy
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ata_mm.ops import (
    CoarseToFineMatcher,
    DisplacementMatcher,
    ExactMatcher,
    LocalMatcher,
    SinkhornMatcher,
    align_frames,
    validation,
)
from ata_mm.ops.lap import solve_scipy
from ata_mm.ops.validation import NotFiniteError

HARD = {
    'exact': ExactMatcher(),
    'coarse to fine': CoarseToFineMatcher(max_exact=4, group_size=4),
    'local': LocalMatcher(1),
    'local, whole grid': LocalMatcher(9),
}
SOFT = {
    'sinkhorn': SinkhornMatcher(0.3, 200),
    'displacement': DisplacementMatcher(2, 0.01),
}
ALL = {**HARD, **SOFT}
OPTIMAL = ['exact', 'local, whole grid']
ANYWHERE = OPTIMAL + ['sinkhorn']  # the positions of patches do not matter
GRID = (4, 6)

# A patch, a row that is narrower than a window, a clip without a frame pair,
# and two grids with three pairs, of an even and of an odd number of patches.
SHAPES = [(2, (1, 1)), (2, (1, 5)), (1, (4, 6)), (4, (4, 6)), (4, (5, 3))]

hard = pytest.mark.parametrize('name', HARD)
every = pytest.mark.parametrize('name', ALL)
any_shape = pytest.mark.parametrize('frames, grid', SHAPES)


def clip(frames=3, batch=2, channels=64):
    """Return patches that keep their positions, and most of their content."""
    still = torch.randn(batch, 1, 24, channels)
    return still + 0.5 * torch.randn(batch, frames, 24, channels)


def match(name, x):
    return ALL[name].match_frames(x, GRID)


def total(similarity, matching):
    return similarity.gather(-1, matching[..., None]).sum((-2, -1))


def best(similarity):
    """Return the largest totals (P,), by scipy."""
    solved = torch.from_numpy(solve_scipy(similarity.numpy()))
    return total(similarity, solved)


@any_shape
@every
def test_routes_are_permutations_from_frame_0(name, frames, grid):
    num = grid[0] * grid[1]
    x = torch.randn(2, frames, num, 8)
    alignment = align_frames(x, ALL[name], grid)
    order = torch.arange(num).expand(2, frames, num)
    assert torch.equal(alignment.routes.sort(-1).values, order)
    assert torch.equal(alignment.routes[:, 0], order[:, 0])
    assert torch.equal(alignment.align(x)[:, 0], x[:, 0])


@any_shape
@hard
def test_round_trip_is_exact_to_the_bit(name, frames, grid):
    x = torch.randn(2, frames, grid[0] * grid[1], 8)
    alignment = align_frames(x, ALL[name], grid)
    assert torch.equal(alignment.dealign(alignment.align(x)), x)


@any_shape
def test_plans_are_doubly_stochastic(frames, grid):
    num = grid[0] * grid[1]
    x = torch.randn(2, frames, num, 8)
    plans = align_frames(x, ALL['sinkhorn'], grid).plans
    ones = torch.ones(2, frames, num)
    assert plans.shape == (2, frames, num, num) and (plans >= 0).all()
    torch.testing.assert_close(plans.sum(-1), ones, atol=0.01, rtol=0)
    torch.testing.assert_close(plans.sum(-2), ones, atol=0.01, rtol=0)


@every
def test_identical_frames_keep_their_order(name):
    x = clip(frames=1).expand(-1, 3, -1, -1)
    routes = align_frames(x, ALL[name], GRID).routes
    assert torch.equal(routes, torch.arange(24).expand(2, 3, -1))


@every
def test_clips_of_a_batch_are_independent(name):
    x = clip(batch=3)
    torch.testing.assert_close(match(name, x)[1:2], match(name, x[1:2]))


@pytest.mark.parametrize('name', ANYWHERE)
def test_patches_in_another_order_have_the_same_matches(name):
    x = clip()
    first, second = torch.randperm(24), torch.randperm(24)
    y = torch.stack([x[:, 0, first], x[:, 1, second]], 1)
    before, after = (match(name, a)[:, 0] for a in (x[:, :2], y))
    if name in HARD:
        before, after = F.one_hot(before).float(), F.one_hot(after).float()
    torch.testing.assert_close(
        after, before[:, first][:, :, second], atol=1e-3, rtol=0
    )


@pytest.mark.parametrize('axis', [0, 1])
@pytest.mark.parametrize('name', ['local', 'displacement'])
def test_mirrored_frames_have_mirrored_alignments(name, axis):
    mirror = torch.arange(24).view(GRID).flip(axis).flatten()
    x = clip()
    y, mirrored = (
        align_frames(a, ALL[name], GRID).align(a) for a in (x, x[:, :, mirror])
    )
    torch.testing.assert_close(mirrored, y[:, :, mirror], atol=1e-3, rtol=0)


@pytest.mark.parametrize('name', OPTIMAL)
def test_repeated_patches_are_matched_to_equal_ones(name):
    kinds = torch.stack([torch.randperm(24) % 4 for _ in range(3)])
    x = torch.randn(4, 8)[kinds][None]  # many optima, with equal content
    aligned = align_frames(x, ALL[name], GRID).align(x)
    assert torch.equal(aligned, aligned[:, :1].expand_as(x))


@every
def test_half_precision_is_matched_in_fp32(name):
    x = clip().bfloat16()
    expected = match(name, x.float())
    assert torch.equal(match(name, x), expected)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(match(name, x), expected)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@every
def test_refuses_what_is_not_finite(name, value):
    x = clip()
    x[1, 1, 5, 7] = value
    with pytest.raises(ValueError, match='finite'):
        align_frames(x, ALL[name], GRID)
    similarity = torch.randn(2, 24, 24)
    similarity[1, 2, 3] = value
    with pytest.raises(ValueError, match='finite'):
        ALL[name](similarity, GRID)


@every
def test_refuses_problems_that_are_not_square(name):
    with pytest.raises(ValueError, match=r'\(\.\.\., N, N\)'):
        ALL[name](torch.rand(2, 4, 5), (2, 2))


@every
def test_leading_dimensions_are_kept(name):
    similarity = torch.rand(2, 3, 24, 24)
    matching = ALL[name](similarity, GRID)
    assert matching.shape[:3] == (2, 3, 24)
    torch.testing.assert_close(
        ALL[name](similarity[0, 1], GRID), matching[0, 1]
    )


@hard
def test_total_is_at_most_the_best_and_at_least_that_of_the_identity(name):
    similarity = torch.randn(8, 24, 24)
    reached = total(similarity, ALL[name](similarity, GRID))
    identity = similarity.diagonal(dim1=1, dim2=2).sum(1)
    assert (reached <= best(similarity) + 1e-4).all()
    assert (reached >= identity - 1e-4).all()


@pytest.mark.parametrize('name', OPTIMAL)
def test_total_is_that_of_scipy(name):
    similarity = torch.randn(8, 24, 24)
    reached = total(similarity, ALL[name](similarity, GRID))
    torch.testing.assert_close(reached, best(similarity))


@hard
def test_permutations_are_matched_outside_autograd(name):
    """Permutations have no gradient: a saved tensor would be of no use."""

    def refuse(tensor):
        raise AssertionError(f'saved {tuple(tensor.shape)} for backward')

    x = clip().requires_grad_()
    similarity = torch.randn(2, 24, 24, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(refuse, refuse):
        match(name, x)
        ALL[name](similarity, GRID)


@pytest.mark.parametrize('name', SOFT)
def test_gradients_flow_into_every_frame(name):
    x = clip().requires_grad_()
    match(name, x).square().sum().backward()
    assert (x.grad.abs().sum((-1, -2)) > 0).all()


class HostTensors(TorchDispatchMode):
    """List the operations that return a tensor on the CPU."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if getattr(result, 'device', None) == torch.device('cpu'):
            self.found.append(function)
        return result


@pytest.mark.parametrize(
    'options',
    [{}, dict(min_similarity=0.4), dict(support_radius=1)],
    ids=str,
)
@every
def test_makes_no_tensor_on_the_host(name, options, monkeypatch):
    """A copy from the host would synchronise a GPU."""
    pytest.importorskip('triton')
    exact = ExactMatcher('triton')
    matcher = copy.copy(ALL[name] if name != 'exact' else exact)
    monkeypatch.setattr(matcher, '_exact', exact, raising=False)
    # A device without values, which autocast does not know.
    monkeypatch.setattr(torch, 'autocast', lambda *a, **k: nullcontext())
    x = torch.empty(2, 3, 24, 8, device='meta')
    with HostTensors() as mode:
        matching = matcher.match_pairs(x[:, :-1], x[:, 1:], GRID, **options)
        alignment = matcher.follow(matching.matching, GRID, matching.accepted)
        alignment.dealign(alignment.align(x))
        alignment.rematch(*matching)
    assert not mode.found


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@every
def test_values_that_cannot_be_reported_give_valid_places(
    name, value, monkeypatch
):
    # As on a GPU, where an index out of range would end the process.
    pytest.importorskip('triton')
    monkeypatch.setattr(validation, 'check', lambda *args: None)
    exact = ExactMatcher('triton')
    matcher = copy.copy(ALL[name] if name != 'exact' else exact)
    monkeypatch.setattr(matcher, '_exact', exact, raising=False)
    x = clip()
    x[0, 1, 3:9] = value
    alignment = align_frames(x, matcher, GRID)
    assert alignment.places.min() >= 0 and alignment.places.max() < 24
    aligned = alignment.align(x)
    assert not aligned[0].isfinite().all() and aligned[1].isfinite().all()


@every
def test_values_that_are_not_finite_are_refused_on_the_cpu(name):
    x = clip()
    x[0, 1, 3] = float('nan')
    with pytest.raises(NotFiniteError, match='training has diverged'):
        align_frames(x, ALL[name], GRID)
