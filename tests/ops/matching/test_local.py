# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import time

import pytest
import torch

from ata_mm.ops import (
    ExactMatcher,
    LocalMatcher,
    align_frames,
    neighbour_similarity,
)
from ata_mm.ops.lap import solve_scipy
from ata_mm.ops.matching import local
from ata_mm.ops.matching.similarity import aggregate

GRID = (5, 7)


@pytest.fixture(params=['dense', 'sparse'])
def solved(request, monkeypatch):
    """Solve small problems by the solvers of small and of large ones."""
    if request.param == 'sparse':
        monkeypatch.setattr(local, '_MAX_DENSE', 0)


def far(grid, radius):
    """Return a mask (N, N) of patches outside each other's windows."""
    positions = torch.cartesian_prod(*(torch.arange(side) for side in grid))
    return (positions[:, None] - positions).abs().amax(-1) > radius


def mean_within(similarity, radius):
    """Return the means of similarities within windows, (P, 1, 1)."""
    near = ~far(GRID, radius)
    means = [problem[near].mean() for problem in similarity]
    return torch.stack(means)[:, None, None]


def total(values, matching):
    return values.gather(-1, matching[..., None]).sum((1, 2))


def panned(grid, rows, columns):
    """Return random patches that move (1, 2, N, C), and where they are.

    Returns:
        tuple: Features, and the new positions (N,); -1 out of view.
    """
    height, width = grid
    scene = torch.randn(height + abs(rows), width + abs(columns), 32)
    top, left = max(rows, 0), max(columns, 0)
    first = scene[top:, left:][:height, :width]
    second = scene[top - rows :, left - columns :][:height, :width]
    index = torch.arange(height * width).view(grid)
    target = index + rows * width + columns
    row = torch.arange(height)[:, None] + rows
    column = torch.arange(width) + columns
    visible = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    x = torch.stack([first.flatten(0, 1), second.flatten(0, 1)])[None]
    return x, target.where(visible, -1).flatten()


@pytest.mark.parametrize('rows, columns', [(0, 1), (0, -3), (2, 0), (-1, 2)])
def test_follows_a_pan_within_its_radius(solved, rows, columns):
    grid = (8, 9)
    x, target = panned(grid, rows, columns)
    matching = LocalMatcher(3).match_frames(x, grid)[0, 0]
    assert torch.equal(matching[target >= 0], target[target >= 0])


def test_leaving_patches_are_matched_to_coming_ones_in_order(solved):
    grid = (4, 6)
    x, target = panned(grid, 0, 2)
    matching = LocalMatcher(2).match_frames(x, grid)[0, 0].view(grid)
    columns = torch.arange(24).view(grid)[:, :2]  # free in the new frame
    assert torch.equal(matching[:, 4:], columns)


@pytest.mark.parametrize('radius', [1, 2, 4])
def test_best_of_all_permutations(solved, radius):
    similarity = torch.rand(3, 35, 35)
    outside = far(GRID, radius)
    bound = mean_within(similarity, radius)
    values = similarity.masked_fill(outside, -1).maximum(bound)
    best = torch.from_numpy(solve_scipy(values.numpy()))
    matching = LocalMatcher(radius)(similarity, GRID)
    torch.testing.assert_close(total(values, matching), total(values, best))


@pytest.mark.parametrize('num, grid', [(35, GRID), (1064, (28, 38))])
def test_a_window_of_the_whole_grid_is_an_exact_matching(num, grid):
    x = torch.randn(1, 3, num, 8)
    radius = max(grid) - 1
    for options in ((), (0.3,), (0.3, 1)):
        found, best = (
            matcher.match_pairs(x[:, :-1], x[:, 1:], grid, *options)
            for matcher in (LocalMatcher(radius), ExactMatcher())
        )
        assert torch.equal(found.matching, best.matching)
        assert options == () or torch.equal(found.accepted, best.accepted)
    similarity = neighbour_similarity(x)
    assert torch.equal(
        LocalMatcher(radius)(similarity, grid), ExactMatcher()(similarity)
    )


def test_time_does_not_grow_with_a_radius_beyond_the_grid():
    x = torch.randn(1, 2, 36, 8)
    start = time.perf_counter()
    LocalMatcher(10**6).match_frames(x, (6, 6))
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize('scale', [0.0, 1e-6, 1e6])
def test_still_patches_stay_however_similar_they_are(solved, scale):
    matching = LocalMatcher(1)(scale * torch.eye(35), GRID)
    assert torch.equal(matching, torch.arange(35))


def test_the_same_from_similarities_as_from_features(solved):
    x, matcher = torch.randn(2, 3, 35, 8), LocalMatcher(2)
    dense = matcher(neighbour_similarity(x), GRID)
    assert torch.equal(matcher.match_frames(x, GRID), dense)


@pytest.mark.parametrize('least', [0.3, -0.5])
@pytest.mark.parametrize('support', [0, 1])
def test_similar_matches_in_the_window_are_accepted(solved, support, least):
    x = torch.randn(2, 3, 35, 8)
    matching, accepted = LocalMatcher(1).match_pairs(
        x[:, :-1], x[:, 1:], GRID, least, support
    )
    matching, accepted = matching.flatten(0, 1), accepted.flatten(0, 1)
    similarity = aggregate(neighbour_similarity(x), GRID, support)
    similarity, outside = similarity.flatten(0, 1), far(GRID, 1)
    bound = mean_within(similarity, 1).clamp_min(least)
    values = similarity.masked_fill(outside, -1).maximum(bound)
    best = torch.from_numpy(solve_scipy(values.numpy()))
    torch.testing.assert_close(total(values, matching), total(values, best))
    found = values.gather(-1, matching[..., None])
    assert torch.equal(accepted[..., None], found > bound)
    assert 0 < accepted.sum() < accepted.numel()


def test_one_first_frame_may_serve_several_pairs(solved):
    x, matcher = torch.randn(2, 3, 35, 8), LocalMatcher(2)
    repeated = x[:, :1].expand(-1, 2, -1, -1)
    expected = matcher.match_pairs(repeated, x[:, 1:], GRID).matching
    found = matcher.match_pairs(x[:, :1], x[:, 1:], GRID).matching
    assert torch.equal(found, expected)


@pytest.mark.parametrize('frames', [1, 2, 3])
def test_routes_are_permutations(solved, frames):
    x = torch.randn(2, frames, 35, 8)
    routes = align_frames(x, LocalMatcher(1), GRID).routes
    order = torch.arange(35).expand(2, frames, -1)
    assert torch.equal(routes.sort(-1).values, order)


def test_large_maps_are_matched_outside_autograd(monkeypatch):

    def refuse(tensor):
        raise AssertionError(f'saved {tuple(tensor.shape)} for backward')

    monkeypatch.setattr(local, '_MAX_DENSE', 0)
    x = torch.randn(2, 3, 35, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(refuse, refuse):
        LocalMatcher().match_frames(x, GRID)


def test_large_maps_need_no_full_similarities(monkeypatch):

    def refuse(*arguments):
        raise AssertionError('computed N x N similarities')

    monkeypatch.setattr(local, '_MAX_DENSE', 0)
    monkeypatch.setattr(ExactMatcher, 'match', refuse)
    monkeypatch.setattr(LocalMatcher, 'match', refuse)
    LocalMatcher(1).match_frames(torch.randn(1, 2, 120, 8), (10, 12))


@pytest.mark.parametrize('frame', [0, 2])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_refuses_what_is_not_finite(solved, value, frame):
    x = torch.randn(1, 3, 35, 8)
    x[0, frame, 4, 2] = value
    for least in None, 0.2:
        with pytest.raises(ValueError, match='finite'):
            LocalMatcher(1).match_pairs(x[:, :-1], x[:, 1:], GRID, least)


def test_refuses_similarities_that_are_not_finite_outside_windows(solved):
    similarity = torch.rand(2, 35, 35)
    similarity[1, 0, 34] = float('nan')
    with pytest.raises(ValueError, match='finite'):
        LocalMatcher(1)(similarity, GRID)


def test_no_problems_have_no_matchings(solved):
    assert LocalMatcher(1)(torch.empty(0, 35, 35), GRID).shape == (0, 35)


@pytest.mark.parametrize('grid', [None, (5, 6)])
def test_needs_the_grid(grid):
    with pytest.raises(ValueError, match='H x W = N = 35.*LocalMatcher'):
        LocalMatcher()(torch.rand(35, 35), grid)
    with pytest.raises(ValueError, match='H x W = N = 35.*LocalMatcher'):
        LocalMatcher().match_frames(torch.rand(1, 2, 35, 4), grid)


@pytest.mark.parametrize('radius', [0, 1.5, -1])
def test_refuses_what_is_not_a_radius(radius):
    with pytest.raises(ValueError, match='radius'):
        LocalMatcher(radius)


@pytest.mark.parametrize('least', [0.0, 0.5])
def test_a_match_in_place_at_the_bound_is_rejected(solved, least):
    """What makes equal patches stay in place does not make them similar."""
    x = torch.zeros(1, 2, 35, 4)
    x[..., 0] = 1.0
    x[:, 1, :, :2] = torch.tensor([least, (1 - least**2) ** 0.5])
    similarity = ExactMatcher().match_pairs(
        x[:, :1], x[:, 1:], GRID, min_similarity=least
    )
    found = align_frames(x, LocalMatcher(1), GRID, min_similarity=least)
    assert torch.equal(found.accepted[:, 1:], similarity.accepted)
    assert not found.accepted[:, 1].any()
