# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.ops import ExactMatcher, LocalMatcher, neighbour_similarity
from ata_mm.ops.lap import solve_scipy
from ata_mm.ops.matching import local
from ata_mm.ops.matching.window import (
    correlate_window,
    gather_window,
    window_index,
)

GRID = (5, 7)


@pytest.fixture(params=['dense', 'sparse'])
def solved(request, monkeypatch):
    """Small problems, solved as such and as large ones are."""
    if request.param == 'sparse':
        monkeypatch.setattr(local, '_MAX_DENSE', 0)


def far(grid, radius):
    """Which patches are outside of each other's windows: (N, N)."""
    places = torch.cartesian_prod(*(torch.arange(side) for side in grid))
    return (places[:, None] - places).abs().amax(-1) > radius


@pytest.mark.parametrize('radius', [1, 2, 4, 6])
def test_best_of_the_permutations_within_the_window(solved, radius):
    similarity = torch.rand(3, 35, 35)
    barred = similarity.masked_fill(far(GRID, radius), -100.)
    best = torch.from_numpy(solve_scipy(barred.numpy()))
    found = LocalMatcher(radius)(similarity, GRID)
    torch.testing.assert_close(*(barred.gather(-1, m[..., None]).sum((1, 2))
                                 for m in (found, best)))


def test_the_same_from_similarities_as_from_features(solved):
    x, matcher = torch.randn(2, 3, 35, 8), LocalMatcher(2)
    dense = matcher(neighbour_similarity(x), GRID)
    assert torch.equal(matcher.match_frames(x, GRID), dense)


def test_similarities_may_be_zero_or_below(solved):
    similarity = torch.rand(2, 35, 35).round() - 1
    found = LocalMatcher(6)(similarity, GRID)
    best = ExactMatcher()(similarity)
    torch.testing.assert_close(*(similarity.gather(-1, m[..., None]).sum()
                                 for m in (found, best)))


@pytest.mark.parametrize('radius', [1, 3])
def test_window_holds_what_is_near_and_nothing_else(radius):
    index = window_index(GRID, radius)
    for patch, near in enumerate(~far(GRID, radius)):
        assert index[patch][index[patch] >= 0].tolist() == (
            near.nonzero().flatten().tolist())


@pytest.mark.parametrize('radius', [1, 2])  # by shifts, by a product
def test_window_of_features_is_that_of_their_similarities(radius):
    source, target = torch.randn(2, 3, 99, 4)
    dense = source @ target.transpose(1, 2)
    torch.testing.assert_close(
        correlate_window(source, target, (9, 11), radius),
        gather_window(dense, (9, 11), radius))


def test_torch_compile_can_hold_what_a_gpu_solves():
    device = torch.device('cuda')
    for num in 196, 1024:
        exact = ExactMatcher().can_compile(device, num)
        assert LocalMatcher().can_compile(device, num) == exact
    assert not LocalMatcher().can_compile(device, 1025)


@pytest.mark.parametrize('grid', [None, (5, 6)])
def test_needs_the_grid(grid):
    with pytest.raises(ValueError, match='H x W = N = 35.*LocalMatcher'):
        LocalMatcher()(torch.rand(35, 35), grid)
    with pytest.raises(ValueError, match='H x W = N = 35.*LocalMatcher'):
        LocalMatcher().match_frames(torch.rand(1, 2, 35, 4), grid)


@pytest.mark.parametrize('radius', [0, 1.5, -1])
def test_refuses_what_is_no_radius(radius):
    with pytest.raises(ValueError, match='radius'):
        LocalMatcher(radius)
