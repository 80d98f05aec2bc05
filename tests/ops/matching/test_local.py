# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.ops import ExactMatcher, LocalMatcher, neighbour_similarity
from ata_mm.ops.lap import solve_scipy
from ata_mm.ops.matching import base, local

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


@pytest.mark.parametrize('radius', [1, 2, 4, 6])
def test_best_of_the_permutations_within_the_window(solved, radius):
    similarity = torch.rand(3, 35, 35)
    barred = similarity.masked_fill(far(GRID, radius), -100.0)
    best = torch.from_numpy(solve_scipy(barred.numpy()))
    matching = LocalMatcher(radius)(similarity, GRID)
    torch.testing.assert_close(
        *(
            barred.gather(-1, m[..., None]).sum((1, 2))
            for m in (matching, best)
        )
    )


@pytest.mark.parametrize('scale', [0.0, 1e-6, 1e6])
def test_no_match_leaves_the_window(solved, scale):
    # Patches of a row move on by one, the last one to the front: every match
    # but that one is within the window.
    row = (1, 35)
    similarity = scale * torch.eye(35).roll(1, 1)
    matching = LocalMatcher(1)(similarity, row)
    assert not far(row, 1)[torch.arange(35), matching].any()


def test_the_same_from_similarities_as_from_features(solved):
    x, matcher = torch.randn(2, 3, 35, 8), LocalMatcher(2)
    dense = matcher(neighbour_similarity(x), GRID)
    assert torch.equal(matcher.match_frames(x, GRID), dense)


def test_similarities_may_be_zero_or_below(solved):
    similarity = torch.rand(2, 35, 35).round() - 1
    matching = LocalMatcher(6)(similarity, GRID)
    best = ExactMatcher()(similarity)
    torch.testing.assert_close(
        *(similarity.gather(-1, m[..., None]).sum() for m in (matching, best))
    )


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
    monkeypatch.setattr(base, 'compare', refuse)
    monkeypatch.setattr(LocalMatcher, 'match', refuse)
    LocalMatcher(1).match_frames(torch.randn(1, 2, 120, 8), (10, 12))


def test_what_a_gpu_solves_can_be_traced():
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
def test_refuses_what_is_not_a_radius(radius):
    with pytest.raises(ValueError, match='radius'):
        LocalMatcher(radius)
