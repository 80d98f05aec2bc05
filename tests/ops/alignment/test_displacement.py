# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.ops import Alignment, DisplacementAlignment
from ata_mm.ops.alignment.displacement import chain_displacements

GRID = (6, 8)


def moved(*steps, grid=GRID):
    """The alignment of a clip that moves as a whole, (rows, columns) a
    frame."""
    steps = torch.tensor(steps).view(1, -1, 1, 2)
    displacement = steps.expand(-1, -1, grid[0] * grid[1], -1)
    return DisplacementAlignment(chain_displacements(displacement, grid), grid)


def inside(x, grid=GRID, border=2):
    """Less the border, where places are kept on the grid."""
    x = x.unflatten(2, grid)
    return x[:, :, border:-border, border:-border]


def test_no_displacement_is_exactly_the_identity():
    alignment = moved([0., 0.], [0., 0.])
    x = torch.randn(1, 3, 48, 5)
    assert torch.equal(alignment.align(x), x)
    assert torch.equal(alignment.dealign(x), x)
    assert torch.equal(alignment.routes, torch.arange(48).expand(1, 3, 48))


def test_whole_patches_are_taken_as_they_are():
    x = torch.randn(1, 2, 48, 5)
    y = moved([1., -1.]).align(x).unflatten(2, GRID)
    assert torch.equal(y[:, 1, :-1, 1:], x.unflatten(2, GRID)[:, 1, 1:, :-1])


def test_steps_add_up_along_the_route():
    places = moved([0.5, 0.], [0.25, 1.]).positions.unflatten(2, GRID)
    assert places[0, :, 1, 1].tolist() == [[1, 1], [1.5, 1], [1.75, 2]]


def test_a_step_is_read_where_the_route_is():
    # Columns move by their number in the second pair.
    displacement = torch.zeros(1, 2, 8, 2)
    displacement[:, 0, :, 1] = 0.5
    displacement[:, 1, :, 1] = torch.arange(8.) / 8
    places = chain_displacements(displacement, (1, 8))
    torch.testing.assert_close(places[0, 2, 2, 1], torch.tensor(2.5 + 2.5 / 8))


def test_places_stay_on_the_grid():
    places = moved([-9., 2.5]).positions[0, 1]
    assert places.amin(0).tolist() == [0, 2.5]
    assert places.amax(0).tolist() == [0, 7]


@pytest.mark.parametrize('step, wave, lost', [
    ([0.5, 0.], None, 0.61),
    ([0.5, 0.5], None, 0.80),
    ([0., 0.5], 8, 0.15),
    ([0., 0.5], 16, 0.04),
    ([1., -1.], None, 0.),
])
def test_what_the_round_trip_loses(step, wave, lost):
    grid = (40, 64)
    x = torch.randn(1, 2, 40 * 64, 8)
    if wave is not None:
        phase = 2 * torch.pi * torch.arange(64.) / wave
        x = phase.sin().repeat(40).view(1, 1, -1, 1).expand(-1, 2, -1, -1)
    alignment = moved(step, grid=grid)
    rest = x - alignment.dealign(alignment.align(x))
    rest, x = (inside(a, grid)[:, 1].norm() for a in (rest, x))
    torch.testing.assert_close(rest / x, torch.tensor(lost), atol=.02, rtol=0)


def test_patches_without_a_route_get_nothing():
    y = moved([0., 4.]).dealign(torch.ones(1, 2, 48, 1)).unflatten(2, GRID)
    assert (y[0, 1, :, :4] == 0).all() and (y[0, 1, :, 4:] == 1).all()


@pytest.mark.parametrize('grid', [(6, 8), (33, 35)])
def test_routes_are_the_nearest_permutations(grid):
    routes = moved([0.3, -0.4], grid=grid).routes
    Alignment(routes)
    assert torch.equal(routes[0, 1], torch.arange(grid[0] * grid[1]))
