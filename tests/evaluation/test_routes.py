# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from dataclasses import asdict

import numpy as np
import pytest
import torch

from ata_mm.datasets import Layer
from ata_mm.evaluation.known_motion import LayeredClip
from ata_mm.evaluation.routes import (
    RouteCount,
    count_followed,
    in_place,
    nearest_neighbour,
    route_positions,
)
from ata_mm.ops import (
    Alignment,
    DisplacementAlignment,
    SoftAlignment,
    align_frames,
)

GRID = 4, 4
SIDE = 8


def moving(*columns):
    """A clip whose content is so many patches to the right in each frame."""
    poses = np.tile(np.eye(2, 3), (len(columns), 1, 1))
    poses[:, 0, 2] = -SIDE * np.array(columns)
    frames = np.zeros((len(columns), 32, 32, 3), np.uint8)
    return LayeredClip(frames, [Layer(poses)])


def shifted(*columns, accepted=None):
    """Routes so many patches to the right in each frame, around the edge."""
    patches = torch.arange(16).view(GRID)
    routes = torch.stack([patches.roll(-c, 1).flatten() for c in columns])
    return Alignment(routes[None], accepted=accepted)


def count(alignment, clip, steps='1'):
    return count_followed(alignment, clip, GRID)[steps]


def test_routes_that_follow_the_motion_are_exact():
    found = count(shifted(0, 1), moving(0, 1))
    assert (found.visible, found.exact, found.within) == (12, 12, 12)
    assert found.distance == 0 and found.gone == 4


@pytest.mark.parametrize('column', [0, 1])
def test_at_half_a_patch_either_neighbour_is_exact(column):
    found = count(shifted(0, column), moving(0, 0.5))
    # The last column is on the border, and its other neighbour outside.
    assert found.visible == 16 and found.exact == 16 - 4 * column


@pytest.mark.parametrize('column, exact', [(-0.500001, 12), (-0.51, 0)])
def test_half_a_patch_need_not_be_exactly_half(column, exact):
    assert count(shifted(0, 0), moving(0, column)).exact == exact


@pytest.mark.parametrize('column', [-0.5, 0.5])
def test_content_is_visible_up_to_the_edge_of_the_frame(column):
    assert count(shifted(0, 0), moving(0, column)).visible == 16


def test_one_patch_off_is_within_one_cell():
    found = count(shifted(0, 0), moving(0, 1))
    assert (found.exact, found.within, found.mean_error) == (0, 12, 1)


def test_two_patches_off_are_not():
    found = count(shifted(0, 0), moving(0, 2))
    assert (found.visible, found.within, found.mean_error) == (8, 0, 2)


def test_distances_are_euclidean():
    clip = moving(0, 0)
    clip.layers[0].poses[1, :, 2] = 4 * -SIDE, 3 * -SIDE
    large = LayeredClip(np.zeros((2, 64, 64, 3), np.uint8), clip.layers)
    alignment = Alignment(torch.arange(64).expand(1, 2, 64))
    found = count_followed(alignment, large, (8, 8))['1']
    assert found.visible == 20 and found.mean_error == 5


def test_steps_are_judged_from_where_the_route_is():
    found = count_followed(shifted(0, 0, 1), moving(0, 1, 2), GRID)
    # The first step stays, the second follows the content at the wrong place.
    assert found['step'].visible == 24 and found['step'].exact == 12
    assert found['3'] == RouteCount()


def test_steps_on_a_wide_grid_are_those_of_their_patches():
    wide = np.zeros((2, 32, 48, 3), np.uint8)
    clip = LayeredClip(wide, moving(0, 0).layers)
    alignment = Alignment(torch.arange(24).expand(1, 2, 24))
    found = count_followed(alignment, clip, (4, 6))['step']
    assert found.visible == 24 and found.distance == 0


def test_steps_between_patches_are_judged_from_there():
    columns = torch.tensor([0, 0.5, 1.0])
    grid = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))
    positions = grid + torch.stack([0 * columns, columns], 1)[:, None]
    alignment = DisplacementAlignment(positions[None].clamp_max(3), GRID)
    found = count_followed(alignment, moving(0, 0.5, 1), GRID, [2])
    assert found['2'].mean_error == 0
    # Both steps of the four routes that are held at the edge.
    assert found['step'].distance == 2 * 4 * 0.5


def test_rejected_routes_are_counted_apart():
    accepted = torch.ones(1, 2, 16, dtype=torch.bool)
    accepted[0, 1, [0, 3]] = False  # one whose content stays, one it leaves
    found = count(shifted(0, 1, accepted=accepted), moving(0, 1))
    assert (found.rejected, found.gone_rejected) == (1, 1)
    assert (found.kept, found.kept_within) == (14, 11)
    assert found.rejection_shares == (1 / 12, 11 / 14, 1 / 4)


def test_what_is_rejected_once_stays_rejected_along_the_route():
    accepted = torch.ones(1, 4, 16, dtype=torch.bool)
    accepted[0, 1, 0] = False
    found = count_followed(
        shifted(0, 0, 0, 0, accepted=accepted), moving(0, 0, 0, 0), GRID
    )
    assert (found['1'].rejected, found['3'].rejected) == (1, 1)
    assert found['step'].rejected == 1


def test_unknown_motion_is_not_counted():
    clip = moving(0, 0)
    near = Layer(clip.layers[0].poses, extent=(3, 31))  # half of a column
    mixed = LayeredClip(clip.frames, [*clip.layers, near])
    found = count(shifted(0, 0), mixed)
    assert (found.visible, found.gone) == (12, 0)


def test_counts_add_up():
    one = RouteCount(4, 1, 2, 3.5, 1, 3, 2, 5, 2)
    assert (one + one).exact_share == one.exact_share == 1 / 4
    assert asdict(one + one) == {k: 2 * v for k, v in asdict(one).items()}


def test_nothing_to_count_has_no_share():
    shares = (RouteCount().within_share, *RouteCount().rejection_shares)
    assert np.isnan(shares).all()


def test_soft_routes_are_at_the_largest_weight():
    plans = torch.tensor([[0.2, 0.8], [0.3, 0.7]])[None, None]
    positions = route_positions(SoftAlignment(plans), (1, 2))
    assert positions.tolist() == [[[[0, 1], [0, 1]]]]


@pytest.mark.parametrize('grid', [None, (2, 3)])
def test_patches_in_place_do_not_move(grid):
    alignment = align_frames(torch.randn(2, 3, 6, 4), in_place, grid)
    assert alignment.places.equal(torch.arange(6).expand(2, 3, 6))


def test_nearest_neighbours_may_be_shared():
    x = torch.tensor([[1.0, 0], [1, 0.1]])[None]
    frames = torch.stack([x, torch.tensor([[[1.0, 0], [0, 1]]])], 1)
    alignment = align_frames(frames, nearest_neighbour)
    assert alignment.places.tolist() == [[[0, 1], [0, 0]]]
