# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F

from ata_mm.ops import DisplacementMatcher, align_frames, neighbour_similarity

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
