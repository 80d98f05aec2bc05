# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.ops import Alignment, DisplacementAlignment
from ata_mm.visualization import doubtful_steps

GRID = (4, 5)


def pan(columns):
    """Return a permutation that moves the patches along their rows."""
    return torch.arange(20).view(GRID).roll(-columns, 1).flatten()


def alignment(*frames):
    return Alignment(torch.stack([torch.arange(20), *frames])[None])


def test_common_motion_is_not_doubtful():
    """But for the column that leaves, and returns on the other side."""
    found = doubtful_steps(alignment(pan(1)), GRID)
    assert found.view(4, 5).any(0).tolist() == [False] * 4 + [True]


def test_neighbours_may_differ_by_a_patch():
    """Every other row moves by a column: two of eight move exactly alike."""
    routes = torch.arange(20).view(GRID)
    routes[1::2] = pan(1).view(GRID)[1::2]
    found = doubtful_steps(alignment(routes.flatten()), GRID).view(GRID)
    assert not found[:, :4].any()


def test_a_step_unlike_those_around_it_is_doubtful():
    routes = torch.arange(20)
    routes[[6, 13]] = routes[[13, 6]]
    found = doubtful_steps(alignment(routes), GRID)
    assert found[0, 0].nonzero().flatten().tolist() == [6, 13]


def test_steps_are_by_route():
    """The patches 6 and 13 of frame 1 are those of the routes 5 and 12."""
    swapped = pan(1).clone()
    first, second = (swapped == 6).nonzero(), (swapped == 13).nonzero()
    second_frame = swapped.clone()
    second_frame[first], second_frame[second] = 13, 6
    found = doubtful_steps(alignment(swapped, second_frame), GRID)
    assert found[0, 1].nonzero().flatten().tolist() == [5, 12]


def test_patches_without_a_route_do_not_count():
    """All routes move to the first column."""
    rows, columns = torch.meshgrid(
        torch.arange(4.0), torch.arange(5.0), indexing='ij'
    )
    start = torch.stack([rows, columns], -1).flatten(0, 1)
    end = torch.stack([rows, 0 * columns], -1).flatten(0, 1)
    positions = torch.stack([start, end, end])[None]
    found = doubtful_steps(DisplacementAlignment(positions, GRID), GRID)
    assert not found[0, 1].any()


def test_one_frame_has_no_step():
    assert doubtful_steps(alignment(), GRID).shape == (1, 0, 20)


def test_another_grid_is_refused():
    with pytest.raises(ValueError, match='20'):
        doubtful_steps(alignment(pan(1)), (3, 5))
