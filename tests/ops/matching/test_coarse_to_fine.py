# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch

from ata_mm.datasets import render_clip
from ata_mm.ops import (
    CoarseToFineMatcher,
    ExactMatcher,
    align_frames,
    neighbour_similarity,
)
from ata_mm.ops.matching.coarse_to_fine import _cells

GRID = (24, 28)


@pytest.fixture(scope='module')
def clip():
    """Return patch features (2, 3, 24 * 28, 48) of two moving scenes."""
    rng = np.random.default_rng(0)
    height, width = (4 * side for side in GRID)
    frames = [
        render_clip(rng, label, 3, (width, height), (6.0, 9.0))
        for label in (0, 2)
    ]
    x = torch.from_numpy(np.stack(frames)).float() / 127.5 - 1
    x = x.unflatten(3, (-1, 4)).unflatten(2, (-1, 4)).transpose(3, 4)
    return x.flatten(4).flatten(2, 3)


def matched(x, matching):
    """Return the mean similarity of matched patches, (B, T-1)."""
    similarity = neighbour_similarity(x)
    return similarity.gather(-1, matching[..., None]).mean((2, 3))


def stay(x):
    """Return the identity, (B, T-1, N)."""
    return torch.arange(x.shape[2]).expand(x.shape[0], x.shape[1] - 1, -1)


@pytest.mark.parametrize('grid, sweeps', [(GRID, 3), (None, 12)])
def test_reaches_most_of_the_gain_of_an_exact_matching(clip, grid, sweeps):
    matcher = CoarseToFineMatcher(sweeps=sweeps)
    found = matched(clip, matcher.match_frames(clip, grid))
    best = matched(clip, ExactMatcher()(neighbour_similarity(clip)))
    identity = matched(clip, stay(clip))
    assert (found <= best + 1e-5).all()
    assert (found - identity > 0.9 * (best - identity)).all()


def test_the_same_from_similarities_as_from_features(clip):
    matcher = CoarseToFineMatcher()
    torch.testing.assert_close(
        matched(clip, matcher(neighbour_similarity(clip), GRID)),
        matched(clip, matcher.match_frames(clip, GRID)),
        rtol=0,
        atol=1e-3,
    )


@pytest.mark.parametrize('sweeps', [0, 1, 2, 3])
def test_sweeps_never_lower_the_similarity(clip, sweeps):
    before, after = (
        matched(clip, CoarseToFineMatcher(sweeps=n).match_frames(clip, GRID))
        for n in (sweeps, sweeps + 1)
    )
    assert (after >= before - 1e-6).all()


def test_never_worse_than_the_identity():
    # Still except for noise: moving whole cells would lose similarity.
    x = torch.randn(1, 1, 672, 8).repeat(1, 2, 1, 1)
    x += 0.3 * torch.randn_like(x)
    found = CoarseToFineMatcher(sweeps=0).match_frames(x, GRID)
    assert matched(x, found) >= matched(x, stay(x))


def test_identical_frames_keep_their_order_despite_equal_patches():
    x = torch.randn(1, 1, 60, 8).repeat(1, 3, 5, 1)
    found = CoarseToFineMatcher(max_cells=100).match_frames(x, (15, 20))
    assert torch.equal(found, stay(x))


def test_optimal_on_small_grids(clip):
    x = clip[:, :, :150]
    similarity = neighbour_similarity(x)
    found, best = CoarseToFineMatcher(), ExactMatcher()
    torch.testing.assert_close(
        matched(x, found(similarity)), matched(x, best(similarity))
    )


@pytest.mark.parametrize(
    'num, grid', [(1, (1, 1)), (323, (17, 19)), (300, (15, 20))]
)
@pytest.mark.parametrize('frames', [1, 2, 3])
def test_a_permutation_of_any_number_of_patches(num, grid, frames):
    x = torch.randn(2, frames, num, 6)
    routes = align_frames(x, CoarseToFineMatcher(), grid).routes
    assert torch.equal(routes.sort(-1).values[0, -1], torch.arange(num))


@pytest.mark.parametrize('grid', [GRID, None])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_refuses_what_is_not_finite(clip, value, grid):
    x = clip.clone()
    x[1, 1, 5, 7] = value
    with pytest.raises(ValueError, match='finite'):
        align_frames(x, CoarseToFineMatcher(), grid)
    with pytest.raises(ValueError, match='finite'):
        CoarseToFineMatcher()(neighbour_similarity(x), grid)


def test_cells_are_few_and_have_few_patches():
    assert _cells((59, 59), 59 * 59, 256) is None
    assert _cells((56, 56), 56 * 56, 256).shape == (196, 16)


@pytest.mark.parametrize(
    'option',
    [
        dict(group_size=1),
        dict(active=0.0),
        dict(sweeps=-1),
        dict(max_cells=0),
    ],
)
def test_refuses_options_out_of_range(option):
    with pytest.raises(ValueError, match=f'Expected .*{next(iter(option))}'):
        CoarseToFineMatcher(**option)
