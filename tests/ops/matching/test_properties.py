# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What every matcher has in common."""
import pytest
import torch
import torch.nn.functional as F

from ata_mm.ops import (
    Alignment,
    AutoMatcher,
    CoarseToFineMatcher,
    DisplacementMatcher,
    ExactMatcher,
    LocalMatcher,
    SinkhornMatcher,
    align_frames,
    neighbour_similarity,
)
from ata_mm.ops.lap import solve_scipy

HARD = {
    'exact': ExactMatcher(),
    'exact, scipy': ExactMatcher('scipy'),
    'coarse to fine': CoarseToFineMatcher(),
    'coarse to fine, cells': CoarseToFineMatcher(max_cells=4, group_size=4),
    'local': LocalMatcher(1),
    'local, whole grid': LocalMatcher(9),
    'auto': AutoMatcher(),
}
SOFT = {'sinkhorn': SinkhornMatcher(0.3, 200)}
ALL = {**HARD, **SOFT, 'displacement': DisplacementMatcher(2, 0.01)}
OPTIMAL = ['exact', 'exact, scipy', 'coarse to fine', 'local, whole grid',
           'auto']  # yapf: disable
ANYWHERE = OPTIMAL + ['sinkhorn']  # the place of a patch does not matter
GRIDS = [(1, 1), (1, 5), (4, 6), (5, 3)]

hard = pytest.mark.parametrize('name', HARD)
soft = pytest.mark.parametrize('name', SOFT)
every = pytest.mark.parametrize('name', ALL)


def clip(grid=(4, 6), frames=3, batch=2, channels=64):
    """Patches that keep their places, and their content more or less."""
    num = grid[0] * grid[1]
    still = torch.randn(batch, 1, num, channels)
    return still + 0.5 * torch.randn(batch, frames, num, channels)


def match(name, x, grid=(4, 6)):
    """What a matcher makes of features, by similarities as by features."""
    matcher = ALL[name]
    if hasattr(matcher, 'match_frames'):
        return matcher.match_frames(x, grid)
    return matcher(neighbour_similarity(x), grid)


def total(similarity, matching):
    return similarity.gather(-1, matching[..., None]).sum((-2, -1))


def best(similarity):
    """Largest totals (P, ), by scipy."""
    solved = torch.from_numpy(solve_scipy(similarity.numpy()))
    return total(similarity, solved)


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('frames', [1, 2, 4])
@hard
def test_permutations(name, frames, grid):
    x = torch.randn(2, frames, grid[0] * grid[1], 8)
    alignment = align_frames(x, ALL[name], grid)
    Alignment(alignment.routes)  # refuses what is none
    assert torch.equal(alignment.dealign(alignment.align(x)), x)


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('frames', [1, 2, 4])
@soft
def test_doubly_stochastic_plans(name, frames, grid):
    num = grid[0] * grid[1]
    x = torch.randn(2, frames, num, 8)
    plans = align_frames(x, ALL[name], grid).plans
    ones = torch.ones(2, frames, num)
    assert plans.shape == (2, frames, num, num) and (plans >= 0).all()
    torch.testing.assert_close(plans.sum(-1), ones, atol=0.01, rtol=0)
    torch.testing.assert_close(plans.sum(-2), ones, atol=0.01, rtol=0)


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('frames', [1, 2, 4])
@every
def test_any_grid_and_number_of_frames(name, frames, grid):
    x = torch.randn(2, frames, grid[0] * grid[1], 8)
    alignment = align_frames(x, ALL[name], grid)
    assert torch.isfinite(alignment.dealign(alignment.align(x))).all()
    assert torch.equal(alignment.align(x)[:, 0], x[:, 0])
    Alignment(alignment.routes)


@every
def test_identical_frames_stay(name):
    x = clip(frames=1).expand(-1, 3, -1, -1)
    routes = align_frames(x, ALL[name], (4, 6)).routes
    assert torch.equal(routes, torch.arange(24).expand(2, 3, -1))


@every
def test_clips_of_a_batch_do_not_matter_to_each_other(name):
    x = clip(batch=3)
    torch.testing.assert_close(match(name, x)[1:2], match(name, x[1:2]))


@pytest.mark.parametrize('name', ANYWHERE)
def test_patches_in_another_order_are_matched_alike(name):
    x = clip()
    first, second = torch.randperm(24), torch.randperm(24)
    y = torch.stack([x[:, 0, first], x[:, 1, second]], 1)
    before, after = (match(name, a)[:, 0] for a in (x[:, :2], y))
    if name in HARD:
        before, after = F.one_hot(before).float(), F.one_hot(after).float()
    torch.testing.assert_close(
        after, before[:, first][:, :, second], atol=1e-3, rtol=0)


@pytest.mark.parametrize('flip', [(0, ), (1, ), (0, 1)])
@pytest.mark.parametrize('name', ANYWHERE + ['local', 'displacement'])
def test_mirrored_frames_are_aligned_alike(name, flip):
    mirror = torch.arange(24).view(4, 6).flip(flip).flatten()
    x = clip()
    y, mirrored = (
        align_frames(a, ALL[name], (4, 6)).align(a)
        for a in (x, x[:, :, mirror]))
    torch.testing.assert_close(mirrored, y[:, :, mirror], atol=1e-3, rtol=0)


@every
def test_equal_patches_are_no_trouble(name):
    x = torch.ones(1, 3, 24, 8)
    alignment = align_frames(x, ALL[name], (4, 6))
    torch.testing.assert_close(alignment.align(x), x, atol=1e-3, rtol=0)
    Alignment(alignment.routes)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@every
def test_half_precision_is_matched_in_fp32(name, dtype):
    x = clip().to(dtype)
    assert torch.equal(match(name, x), match(name, x.float()))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        under = match(name, x)
    assert torch.equal(under, match(name, x))


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@every
def test_refuses_what_is_not_finite(name, value):
    x = clip()
    x[1, 1, 5, 7] = value
    with pytest.raises(ValueError, match='finite'):
        align_frames(x, ALL[name], (4, 6))
    with pytest.raises(ValueError, match='finite'):
        ALL[name](neighbour_similarity(x), (4, 6))


@every
def test_refuses_problems_that_are_not_square(name):
    with pytest.raises(ValueError, match=r'\(\.\.\., N, N\)'):
        ALL[name](torch.rand(2, 4, 5), (2, 2))


@every
def test_leading_dimensions_are_kept(name):
    similarity = torch.rand(2, 3, 24, 24)
    found = ALL[name](similarity, (4, 6))
    assert found.shape[:3] == (2, 3, 24)
    torch.testing.assert_close(ALL[name](similarity[0, 1], (4, 6)), found[0,
                                                                          1])


@hard
def test_total_is_at_most_the_best_and_at_least_that_of_the_identity(name):
    similarity = torch.randn(8, 24, 24)
    found = total(similarity, ALL[name](similarity, (4, 6)))
    stay = similarity.diagonal(dim1=1, dim2=2).sum(1)
    assert (found <= best(similarity) + 1e-4).all()
    assert (found >= stay - 1e-4).all()


@pytest.mark.parametrize('name', OPTIMAL)
def test_total_is_that_of_scipy(name):
    similarity = torch.randn(8, 24, 24)
    found = total(similarity, ALL[name](similarity, (4, 6)))
    torch.testing.assert_close(found, best(similarity))


@soft
def test_total_of_plans_is_at_most_the_best(name):
    similarity = torch.randn(8, 24, 24)
    plans = ALL[name](similarity, (4, 6))
    spread = (plans * similarity).sum((1, 2))
    assert (spread < best(similarity) + 1e-2).all()
    assert (spread > similarity.mean((1, 2)) * 24).all()


@hard
def test_no_gradient_is_kept_of_permutations(name):
    x = clip().requires_grad_()
    assert not match(name, x).requires_grad


@pytest.mark.parametrize('name', ['sinkhorn', 'displacement'])
def test_gradients_flow_through_the_rest(name):
    x = clip().requires_grad_()
    match(name, x).square().sum().backward()
    assert (x.grad.abs().sum((-1, -2)) > 0).all()
