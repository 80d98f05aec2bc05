# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.ops.matching import window
from ata_mm.ops.matching.window import (
    correlate_window,
    gather_window,
    window_index,
    window_offsets,
)

GRID = (5, 7)


def distance(grid):
    """Return the Chebyshev distances of all patches, (N, N)."""
    positions = torch.cartesian_prod(*(torch.arange(side) for side in grid))
    return (positions[:, None] - positions).abs().amax(-1)


def test_offsets_run_row_by_row_around_the_centre():
    offsets = window_offsets(1).tolist()
    assert offsets == [[r, c] for r in (-1, 0, 1) for c in (-1, 0, 1)]


@pytest.mark.parametrize('radius', [1, 3])
def test_index_holds_the_patches_within_the_radius_only(radius):
    index = window_index(GRID, radius)
    assert index.min() == -1
    for patch, near in enumerate(distance(GRID) <= radius):
        inside = index[patch][index[patch] >= 0]
        assert inside.tolist() == near.nonzero().flatten().tolist()


def test_index_is_ordered_as_the_offsets_are():
    positions = torch.tensor([divmod(patch, 7) for patch in range(35)])
    index = window_index(GRID, 1)
    steps = positions[index] - positions[:, None]
    inside = index >= 0
    expected = window_offsets(1).expand(35, -1, -1)
    assert torch.equal(steps[inside], expected[inside])


def test_similarities_outside_the_grid_are_minus_infinity():
    similarity = torch.randn(2, 35, 35)
    windows = gather_window(similarity, GRID, 1)
    index = window_index(GRID, 1)
    assert (windows[:, index < 0] == float('-inf')).all()
    assert torch.equal(windows[:, 8], similarity[:, 8, index[8]])


@pytest.mark.parametrize('radius', [1, 2])
@pytest.mark.parametrize('ratio', [0, 99], ids=['by shifts', 'by a product'])
def test_windows_of_features_are_those_of_their_similarities(
    radius, ratio, monkeypatch
):
    monkeypatch.setattr(window, '_PRODUCT_RATIO', ratio)
    source, target = torch.randn(2, 3, 35, 4)
    torch.testing.assert_close(
        correlate_window(source, target, GRID, radius),
        gather_window(source @ target.transpose(1, 2), GRID, radius),
    )
