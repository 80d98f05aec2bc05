# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ata_mm.datasets import render_clip
from ata_mm.ops import (
    CoarseToFineMatcher,
    ExactMatcher,
    align_frames,
    neighbour_similarity,
)
from ata_mm.ops.matching import coarse_to_fine
from ata_mm.ops.matching.coarse_to_fine import _complete
from ata_mm.ops.matching.similarity import aggregate

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


def centres(grid):
    """Return row and column of each patch from the centre, (N, 2)."""
    rows, columns = (torch.arange(side) - (side - 1) / 2 for side in grid)
    return torch.cartesian_prod(rows, columns)


def moved_texture(grid, motion, channels=24):
    """Return two frames of a smooth random texture, (1, 2, N, C).

    Patch i of frame 0 is at ``centres(grid) @ motion[0] + motion[1]`` in
    frame 1.
    """
    linear, shift = motion
    texture = torch.randn(
        1, channels, 64, 64, generator=torch.Generator().manual_seed(0)
    )
    places = centres(grid)
    frames = []
    for positions in places, (places - shift) @ torch.linalg.inv(linear):
        points = (positions / 32).flip(-1)[None, None]
        frames.append(
            F.grid_sample(
                texture, points, padding_mode='reflection', align_corners=False
            )[0, :, 0].T
        )
    return torch.stack(frames)[None]


def followed(grid, matching, motion, distance=0.5):
    """Return the share of visible patches matched to their new position."""
    places, (linear, shift) = centres(grid), motion
    target = places @ linear + shift
    limit = torch.tensor(grid) / 2
    visible = (target.abs() <= limit).all(-1)
    error = (places[matching] - target).abs().amax(-1)
    return (error <= distance + 1e-3)[visible].float().mean().item()


def pan(rows, columns):
    return torch.eye(2), torch.tensor([float(rows), float(columns)])


def zoom(factor):
    return factor * torch.eye(2), torch.zeros(2)


def rotation(degrees):
    angle = torch.deg2rad(torch.tensor(float(degrees)))
    cos, sin = angle.cos(), angle.sin()
    return torch.tensor([[cos, sin], [-sin, cos]]), torch.zeros(2)


@pytest.mark.parametrize('grid, sweeps', [(GRID, 4), (None, 12)])
def test_reaches_most_of_the_gain_of_an_exact_matching(clip, grid, sweeps):
    matcher = CoarseToFineMatcher(sweeps=sweeps)
    found = matched(clip, matcher.match_frames(clip, grid))
    best = matched(clip, ExactMatcher()(neighbour_similarity(clip)))
    identity = matched(clip, stay(clip))
    assert (found <= best + 1e-5).all()
    assert (found - identity > 0.95 * (best - identity)).all()


@pytest.mark.parametrize('grid', [(20, 20), (17, 23)])
@pytest.mark.parametrize(
    'motion', [pan(0, 1), pan(-3, 0), pan(2, 5)], ids=['1', '3', '2, 5']
)
def test_follows_a_pan_by_any_number_of_patches(grid, motion):
    x = moved_texture(grid, motion)
    found = CoarseToFineMatcher().match_frames(x, grid)[0, 0]
    assert followed(grid, found, motion) > 0.97


def test_a_pan_is_voted_for_where_few_patches_are_found():
    grid, motion = (20, 20), pan(2, -3)
    x = moved_texture(grid, motion) + torch.randn(1, 2, 400, 24)
    shifted, alone = (
        CoarseToFineMatcher(sweeps=0).match_frames(x, known)[0, 0]
        for known in (grid, None)
    )
    assert followed(grid, alone, motion) < 0.3
    assert followed(grid, shifted, motion) > 0.4


@pytest.mark.parametrize(
    'motion', [zoom(1.1), zoom(0.8), rotation(10)], ids=['in', 'out', 'turn']
)
def test_follows_smooth_motion_as_the_exact_matching_does(motion):
    grid = (20, 24)
    x = moved_texture(grid, motion) + 0.2 * torch.randn(1, 2, 480, 24)
    found, best = (
        followed(grid, matcher.match_frames(x, grid)[0, 0], motion, 1)
        for matcher in (CoarseToFineMatcher(), ExactMatcher())
    )
    assert best > 0.5
    assert found > best - 0.05


@pytest.mark.parametrize('motion', [pan(0, 3), zoom(1.1)], ids=['pan', 'zoom'])
def test_the_rows_between_compared_ones_move_with_them(motion, monkeypatch):
    monkeypatch.setattr(coarse_to_fine, '_MAX_COMPARED', 120)
    grid = (20, 23)
    x = moved_texture(grid, motion)
    found = CoarseToFineMatcher(sweeps=0).match_frames(x, grid)[0, 0]
    assert followed(grid, found, motion, 1) > 0.8


def test_finds_patches_in_any_order_without_a_grid():
    x, order = torch.randn(400, 16), torch.randperm(400)
    pair = torch.stack([x[order], x])[None]
    found = CoarseToFineMatcher().match_frames(pair)
    assert torch.equal(found[0, 0], order)


def test_similarities_are_compared_in_blocks(clip, monkeypatch):
    whole = CoarseToFineMatcher().match_frames(clip, GRID)
    monkeypatch.setattr(coarse_to_fine, '_CPU_BLOCK', 672 * 50)
    torch.testing.assert_close(
        matched(clip, CoarseToFineMatcher().match_frames(clip, GRID)),
        matched(clip, whole),
    )


def test_frame_pairs_are_compared_together(clip, monkeypatch):
    alone = CoarseToFineMatcher().match_pairs(clip[:, :-1], clip[:, 1:])
    monkeypatch.setattr(coarse_to_fine, '_CPU_BLOCK', 2**30)
    together = CoarseToFineMatcher().match_pairs(clip[:, :-1], clip[:, 1:])
    assert torch.equal(together.matching, alone.matching)


@pytest.mark.parametrize('source', [slice(0, 2), slice(0, 1)], ids=str)
def test_clips_are_matched_together_as_alone(clip, source, monkeypatch):
    pairs = clip[:, source], clip[:, 1:]
    options = dict(grid=GRID, min_similarity=0.9, support_radius=1)
    alone = CoarseToFineMatcher().match_pairs(*pairs, **options)
    monkeypatch.setattr(CoarseToFineMatcher, '_clips_at_once', lambda *_: 2)
    together = CoarseToFineMatcher().match_pairs(*pairs, **options)
    for found, expected in zip(together, alone):
        assert torch.equal(found, expected)


def test_equal_inputs_have_equal_matchings(clip):
    torch.manual_seed(0)
    first = CoarseToFineMatcher().match_frames(clip, GRID)
    torch.manual_seed(1)
    assert torch.equal(CoarseToFineMatcher().match_frames(clip, GRID), first)


def test_the_same_from_similarities_as_from_features(clip):
    matcher = CoarseToFineMatcher()
    torch.testing.assert_close(
        matched(clip, matcher(neighbour_similarity(clip), GRID)),
        matched(clip, matcher.match_frames(clip, GRID)),
        rtol=0,
        atol=1e-3,
    )


def test_one_first_frame_may_serve_several_pairs(clip):
    matcher = CoarseToFineMatcher()
    found = matcher.match_pairs(clip[:, :1], clip[:, 1:], GRID).matching
    repeated = clip[:, :1].expand(-1, 2, -1, -1)
    assert torch.equal(
        found, matcher.match_pairs(repeated, clip[:, 1:], GRID).matching
    )


@pytest.mark.parametrize('radius', [0, 1])
def test_matches_above_the_least_similarity_are_accepted(clip, radius):
    source, target = clip[:, :-1], clip[:, 1:]
    matching, accepted = CoarseToFineMatcher().match_pairs(
        source, target, GRID, 0.9, radius
    )
    similarity = aggregate(neighbour_similarity(clip), GRID, radius)
    found = similarity.gather(-1, matching[..., None]).squeeze(-1)
    clear = (found - 0.9).abs() > 1e-5
    assert torch.equal(accepted[clear], (found > 0.9)[clear])
    assert 0.1 < accepted.float().mean() < 0.9


def test_matches_prefer_similarities_above_the_least(clip):
    similarity = neighbour_similarity(clip)
    raised, free = (
        similarity.gather(
            -1,
            CoarseToFineMatcher()
            .match_pairs(clip[:, :-1], clip[:, 1:], GRID, least)
            .matching[..., None],
        )
        for least in (0.9, None)
    )
    raised, free = (s.clamp_min(0.9).mean((2, 3)) for s in (raised, free))
    assert (raised > free).all()


def test_support_helps_where_single_patches_are_ambiguous():
    grid, motion = (20, 20), pan(0, 2)
    x = moved_texture(grid, motion) + torch.randn(1, 2, 400, 24)
    alone, supported = (
        followed(
            grid,
            CoarseToFineMatcher()
            .match_pairs(x[:, :1], x[:, 1:], grid, None, radius)
            .matching[0, 0],
            motion,
        )
        for radius in (0, 1)
    )
    assert supported > alone + 0.1


def test_the_first_sweep_matches_similar_patches_of_both_frames():
    x = torch.randn(1, 2, 1024, 4)  # unrelated, and few neighbours are mutual
    start, swept = (
        matched(x, CoarseToFineMatcher(sweeps, 50).match_frames(x))
        for sweeps in (0, 1)
    )
    best = matched(x, ExactMatcher().match_frames(x))
    assert swept - start > 0.8 * (best - start)


@pytest.mark.parametrize('sweeps', [0, 1, 2, 3])
def test_sweeps_never_lower_the_similarity(clip, sweeps):
    before, after = (
        matched(clip, CoarseToFineMatcher(sweeps=n).match_frames(clip, GRID))
        for n in (sweeps, sweeps + 1)
    )
    assert (after >= before - 1e-6).all()


@pytest.mark.parametrize('sweeps', [0, 1])
def test_never_worse_than_the_identity(sweeps):
    # Still except for noise: moving the grid would lose similarity.
    x = torch.randn(1, 1, 672, 8).repeat(1, 2, 1, 1)
    x += 0.3 * torch.randn_like(x)
    found = CoarseToFineMatcher(sweeps=sweeps).match_frames(x, GRID)
    assert matched(x, found) >= matched(x, stay(x))


def test_identical_frames_keep_their_order_despite_equal_patches():
    x = torch.randn(1, 1, 60, 8).repeat(1, 3, 5, 1)
    found = CoarseToFineMatcher().match_frames(x, (15, 20))
    assert torch.equal(found, stay(x))


def test_optimal_on_small_grids(clip):
    x = clip[:, :, :150]
    similarity = neighbour_similarity(x)
    found, best = CoarseToFineMatcher(), ExactMatcher()
    torch.testing.assert_close(
        matched(x, found(similarity)), matched(x, best(similarity))
    )


def test_patches_without_a_mutual_neighbour_follow_to_a_free_column():
    nearest = torch.tensor([[1, 2, 3, 0, 0]])
    mutual = torch.tensor([[True, True, True, False, False]])
    # Row 3 is to stay, but row 2 has taken its column, row 1 that of row 2,
    # and row 0 that of row 1.
    order = torch.arange(5)[None]
    assert _complete(nearest, mutual, order).tolist() == [[1, 2, 3, 0, 4]]


def test_the_first_of_equal_rows_takes_a_column():
    nearest, mutual = torch.tensor([[1, 1, 1]]), torch.ones(1, 3).bool()
    order = torch.arange(3)[None]
    assert _complete(nearest, mutual, order).tolist() == [[1, 0, 2]]


@pytest.mark.parametrize(
    'num, grid', [(1, (1, 1)), (323, (17, 19)), (300, (15, 20)), (257, None)]
)
@pytest.mark.parametrize('frames', [1, 2, 3])
def test_a_permutation_of_any_number_of_patches(num, grid, frames):
    x = torch.randn(2, frames, num, 6)
    routes = align_frames(x, CoarseToFineMatcher(), grid).routes
    assert torch.equal(routes.sort(-1).values[0, -1], torch.arange(num))


def test_no_problems_have_no_matchings():
    found = CoarseToFineMatcher()(torch.empty(0, 300, 300), (15, 20))
    assert found.shape == (0, 300)


@pytest.mark.parametrize('num', [9, 300])
@pytest.mark.parametrize('clips, pairs', [(0, 2), (2, 0)])
def test_no_frame_pairs_have_no_matches(clips, pairs, num):
    x = torch.empty(clips, pairs, num, 4)
    found = CoarseToFineMatcher().match_pairs(x, x, None, 0.5)
    assert found.matching.shape == found.accepted.shape == (clips, pairs, num)


@pytest.mark.parametrize('grid', [GRID, None])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_refuses_what_is_not_finite(clip, value, grid):
    x = clip.clone()
    x[1, 1, 5, 7] = value
    with pytest.raises(ValueError, match='finite'):
        align_frames(x, CoarseToFineMatcher(), grid)
    with pytest.raises(ValueError, match='finite'):
        CoarseToFineMatcher()(neighbour_similarity(x), grid)


def test_refuses_a_grid_of_another_number_of_patches():
    with pytest.raises(ValueError, match='H x W = N = 300'):
        CoarseToFineMatcher()(torch.rand(300, 300), (15, 21))


@pytest.mark.parametrize(
    'option',
    [
        dict(group_size=1),
        dict(active=0.0),
        dict(active='half'),
        dict(sweeps=-1),
        dict(max_exact=0),
    ],
)
def test_refuses_options_out_of_range(option):
    with pytest.raises(ValueError, match=f'Expected .*{next(iter(option))}'):
        CoarseToFineMatcher(**option)


def test_runs_with_any_default_dtype():
    x = torch.randn(1, 2, 36, 8)
    matcher = CoarseToFineMatcher(max_exact=2, group_size=4)
    expected = matcher.match_frames(x, (6, 6))
    similarity = neighbour_similarity(x)
    given = matcher.match(similarity, (6, 6))
    try:
        for dtype in (torch.float64, torch.bfloat16):
            torch.set_default_dtype(dtype)
            assert torch.equal(matcher.match_frames(x, (6, 6)), expected)
            assert torch.equal(matcher.match(similarity, (6, 6)), given)
    finally:
        torch.set_default_dtype(torch.float32)


def test_given_similarities_are_matched_in_fp32_under_autocast():
    similarity = torch.rand(20, 40, 40)
    matcher = CoarseToFineMatcher(max_exact=2, group_size=4)
    expected = matcher.match(similarity)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(matcher.match(similarity), expected)


def test_transforms_of_functions_pass():
    x = torch.randn(1, 2, 36, 8)
    matcher = CoarseToFineMatcher(max_exact=2, group_size=4)

    def total(x):
        return align_frames(x, matcher, (6, 6)).align(x).square().sum()

    torch.testing.assert_close(torch.func.grad(total)(x), 2 * x)
