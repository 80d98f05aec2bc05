# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch
from matplotlib.quiver import Quiver

from ata_mm.ops import align_frames, neighbour_similarity
from ata_mm.visualization import matching_figure

GRID = (3, 4)


@pytest.fixture(scope='module')
def features():
    return torch.randn(1, 3, 12, 8, generator=torch.Generator().manual_seed(0))


def draw(features, pair=0, **options):
    frames = [np.full((60, 80, 3), 90, np.uint8)] * 3
    return matching_figure(
        frames, align_frames(features), features, GRID, pair, **options
    )


def matrix(ax):
    return np.asarray(ax.images[0].get_array())


@pytest.mark.parametrize('pair', [0, 1])
def test_matrix_has_the_similarities_of_the_frame_pair(pair, features):
    before = draw(features, pair).axes[2]
    expected = neighbour_similarity(features)[0, pair]
    np.testing.assert_allclose(matrix(before), expected)


@pytest.mark.parametrize('pair', [0, 1])
def test_matches_are_marked_and_aligned_to_the_diagonal(pair, features):
    axes = draw(features, pair).axes
    columns, rows = axes[2].lines[0].get_data()
    assert sorted(columns) == list(range(12))
    marked = matrix(axes[2])[rows, columns]
    np.testing.assert_array_equal(matrix(axes[3]).diagonal(), marked)


def test_arrows_end_at_the_matched_patches(features):
    axes = draw(features).axes
    columns, rows = axes[2].lines[0].get_data()
    arrows = next(a for a in axes[0].collections if isinstance(a, Quiver))
    start = np.floor(arrows.XY).astype(int)
    patch = start[:, 1] * 4 + start[:, 0]
    goal = (start[:, 1] + arrows.V) * 4 + start[:, 0] + arrows.U
    matched = dict(zip(rows, columns))
    assert [matched[p] for p in patch] == goal.tolist()


def test_patches_without_displacement_are_dots(features):
    still = features[:, :1].expand(1, 3, 12, 8)
    panel = draw(still).axes[0]
    assert len(panel.collections[0].get_offsets()) == 12


def test_refuses_a_frame_pair_out_of_range(features):
    with pytest.raises(ValueError, match='frame pair from 0 to 1.* got 2'):
        draw(features, 2)
