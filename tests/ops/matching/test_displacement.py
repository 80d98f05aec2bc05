# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import itertools

import pytest
import torch
import torch.nn.functional as F

from ata_mm.ops import DisplacementMatcher, align_frames, neighbour_similarity
from ata_mm.ops.matching.similarity import aggregate, pair_similarity

GRID = (10, 12)


def shifted_clip(shift, num_frames=2):
    """Return a smooth texture that moves by (rows, columns) a frame.

    It consists of waves, each by its cosine and sine: all positions have
    features of the same norm.
    """
    draw = torch.Generator().manual_seed(0)
    wave = torch.randn(64, 2, generator=draw) * 0.5  # radians a patch
    rows, columns = (torch.arange(float(side)) for side in GRID)
    positions = torch.cartesian_prod(rows, columns)
    time = torch.arange(num_frames)[:, None, None]
    positions = positions - time * torch.tensor(shift)  # (T, N, 2)
    phase = positions @ wave.t()
    return torch.cat([phase.cos(), phase.sin()], -1)[None]  # (1, T, N, 128)


@pytest.mark.parametrize(
    'shift', [(0.0, 0.0), (0.5, 0.0), (0.3, -0.7), (-1.25, 1.0), (1.6, 1.4)]
)
def test_measures_the_motion_of_a_texture(shift):
    x = shifted_clip(shift)
    displacement = DisplacementMatcher(3, 0.1).match_frames(x, GRID)
    inside = displacement[0, 0].unflatten(0, GRID)[3:-3, 3:-3]
    expected = torch.tensor(shift).expand_as(inside)
    torch.testing.assert_close(inside, expected, atol=0.05, rtol=0)


def test_content_is_constant_along_routes_between_patches():
    x = shifted_clip((0.4, -0.6), num_frames=3)
    y = align_frames(x, DisplacementMatcher(2, 0.1), GRID).align(x)
    inside = y.unflatten(2, GRID)[0, :, 3:-3, 3:-3]
    still = x.unflatten(2, GRID)[0, :, 3:-3, 3:-3]
    assert F.cosine_similarity(inside[0], inside[2], dim=-1).mean() > 0.95
    assert F.cosine_similarity(still[0], still[2], dim=-1).mean() < 0.85


def test_the_same_from_similarities_as_from_features():
    x, matcher = torch.randn(2, 3, 120, 8), DisplacementMatcher(2)
    torch.testing.assert_close(
        matcher(neighbour_similarity(x), GRID),
        matcher.match_frames(x, GRID),
        atol=1e-4,
        rtol=0,
    )


def panned_clip(step, channels=64):
    """Return random patches that move by (rows, columns) into frame 1.

    What leaves the frame is replaced by other random patches. Returns the
    features, the patches that stay, and where they are in frame 1.
    """
    x = torch.randn(1, 2, *GRID, channels)
    target = torch.cartesian_prod(*map(torch.arange, GRID)) + torch.tensor(
        step
    )
    stays = ((target >= 0) & (target < torch.tensor(GRID))).all(-1)
    target = target[stays] @ torch.tensor([GRID[1], 1])
    x = x.flatten(2, 3)
    x[:, 1, target] = x[:, 0, stays]
    return x, stays, target


@pytest.mark.parametrize('step', [(0, 1), (0, -1), (1, 0), (-1, 2)])
def test_content_that_stays_is_followed_through_a_pan(step):
    x, stays, target = panned_clip(step)
    alignment = align_frames(x, DisplacementMatcher(2), GRID)
    assert torch.equal(alignment.places[0, 1, stays], target)
    # But for a patch that a leaving route happens to reach as well.
    assert (alignment.routes[0, 1, stays] == target).float().mean() > 0.95
    length = torch.tensor(step).float().norm().expand(len(target))
    steps = alignment.displacement(GRID)[0, 0, stays]
    torch.testing.assert_close(steps, length, atol=1e-3, rtol=0)


@pytest.mark.parametrize('source', [slice(0, 1), slice(0, -1)])
def test_options_apply_to_the_similarities(source):
    x, matcher = torch.randn(2, 4, 120, 6), DisplacementMatcher(1, 0.2)
    displacement, accepted = matcher.match_pairs(
        x[:, source], x[:, 1:], GRID, 0.2, support_radius=1
    )
    similarity = pair_similarity(x[:, source], x[:, 1:])
    similarity = aggregate(similarity, GRID, 1)
    torch.testing.assert_close(
        displacement, matcher(similarity.clamp_min(0.2), GRID)
    )
    for row, column in itertools.product(range(1, 9), range(1, 11)):
        around = itertools.product((-1, 0, 1), repeat=2)
        near = [(row + a) * 12 + column + b for a, b in around]
        windows = similarity[:, :, row * 12 + column, near]
        weight = (windows.clamp_min(0.2) / 0.2).softmax(-1)
        share = torch.where(windows > 0.2, weight, 0.0).sum(-1)
        assert torch.equal(accepted[:, :, row * 12 + column], share > 0.5)
    assert 0 < accepted.sum() < accepted.numel()


@pytest.mark.parametrize('anchors', [None, (0, 0, 0), (0, 0, 2)])
def test_matches_are_accepted_where_they_come_from(anchors):
    displacement = torch.randint(-2, 3, (2, 3, 120, 2)).float()
    accepted = torch.rand(2, 3, 120) < 0.7
    alignment = DisplacementMatcher().follow(
        displacement, GRID, accepted, anchors
    )
    assert alignment.accepted[:, 0].all()
    for t, anchor in enumerate(anchors or range(3), start=1):
        before = alignment.places[:, anchor]
        expected = accepted[:, t - 1].gather(1, before)
        assert torch.equal(alignment.accepted[:, t], expected)


def test_patches_at_the_border_can_be_accepted():
    x = torch.randn(1, 1, 120, 64)
    _, accepted = DisplacementMatcher(1).match_pairs(x, x, GRID, 0.5)
    assert accepted.all()


def test_rejected_patches_are_drawn_to_the_centre_of_the_window():
    x, y = torch.randn(2, 1, 1, 120, 64)
    displacement, accepted = DisplacementMatcher(1).match_pairs(
        x, y, GRID, min_similarity=0.9
    )
    assert not accepted.any()
    inside = displacement[0, 0].unflatten(0, GRID)[1:-1, 1:-1]
    torch.testing.assert_close(inside, torch.zeros_like(inside))


@pytest.mark.parametrize('options', [dict(), dict(reference='first')])
def test_a_single_frame_keeps_its_order(options):
    x = torch.randn(2, 1, 120, 4)
    positions = align_frames(
        x, DisplacementMatcher(), GRID, support_radius=1, refine=1, **options
    ).positions
    still = torch.cartesian_prod(*(torch.arange(float(n)) for n in GRID))
    assert torch.equal(positions, still.expand(2, 1, 120, 2))


def test_never_leaves_the_window():
    displacement = DisplacementMatcher(2).match_frames(
        torch.randn(1, 4, 120, 8), GRID
    )
    assert displacement.abs().max() < 2 + 1e-5


def test_equal_patches_are_drawn_to_the_centre_of_the_window():
    displacement = DisplacementMatcher(2)(torch.ones(120, 120), GRID)
    rows, columns = displacement.unflatten(0, GRID).unbind(-1)
    by_row = torch.tensor([1, 0.5, 0, 0, 0, 0, 0, 0, -0.5, -1])
    by_column = torch.tensor([1, 0.5] + [0] * 8 + [-0.5, -1])
    torch.testing.assert_close(rows, by_row[:, None].expand(GRID))
    torch.testing.assert_close(columns, by_column.expand(GRID))


def test_gradients_flow_into_the_features():
    x = shifted_clip((0.4, -0.6), num_frames=3).requires_grad_()
    alignment = align_frames(x, DisplacementMatcher(2, 0.1), GRID)
    alignment.positions.square().sum().backward()
    assert (x.grad.abs().sum((-1, -2)) > 0).all()


def test_gradients_flow_through_the_options():
    x = torch.randn(2, 1, 2, 120, 6, requires_grad=True)
    displacement, _ = DisplacementMatcher(1, 0.2).match_pairs(
        *x, GRID, min_similarity=0.0, support_radius=1
    )
    displacement.square().sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad.abs().sum((-1, -2)) > 0).all()


def test_gradients_are_correct():
    matcher = DisplacementMatcher(1, 0.5)
    windows = torch.randn(2, 6, 9, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(matcher._mean_offset, windows)


@pytest.mark.parametrize('grid', [None, (5, 6)])
def test_needs_the_grid(grid):
    with pytest.raises(ValueError, match='DisplacementMatcher'):
        DisplacementMatcher()(torch.rand(35, 35), grid)
    with pytest.raises(ValueError, match='DisplacementMatcher|grid'):
        align_frames(torch.rand(1, 2, 35, 4), DisplacementMatcher(), grid)


@pytest.mark.parametrize('options', [dict(radius=0), dict(temperature=0.0)])
def test_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=f'Expected {next(iter(options))}'):
        DisplacementMatcher(**options)


@pytest.mark.parametrize(
    'options',
    [dict(accepted=torch.ones(1, 3, 120) > 0), dict(anchors=[0])],
)
def test_refuses_what_does_not_fit_the_displacements(options):
    (name,) = options
    with pytest.raises(ValueError, match=f'Expected {name}'):
        DisplacementMatcher().follow(
            torch.zeros(1, 2, 120, 2), GRID, **options
        )


def test_given_similarities_are_averaged_in_fp32_under_autocast():
    similarity = neighbour_similarity(shifted_clip((0.3, 0.7)))
    matcher = DisplacementMatcher(3, 0.1)
    with torch.autocast('cpu', torch.bfloat16):
        found = matcher.match(similarity, GRID)
    assert torch.equal(found, matcher.match(similarity, GRID))
