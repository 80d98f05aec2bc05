# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch
from matplotlib.quiver import Quiver

from ata_mm.ops import align_frames, neighbour_similarity
from ata_mm.visualization import Block, matching_figure

GRID = (3, 4)


@pytest.fixture(scope='module')
def features():
    return torch.randn(1, 3, 12, 8, generator=torch.Generator().manual_seed(0))


def draw(features, pair=0, grid=GRID, **options):
    frames = [np.full((60, 80, 3), 90, np.uint8)] * 3
    alignment = align_frames(features, grid=grid, **options)
    block = Block(0, 'a', 'ATA', grid, None, alignment, features, options)
    return matching_figure(frames, block, pair)


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


def arrows(panel):
    """Return the patches at the starts, and the ends, (row, column)."""
    found = [a for a in panel.collections if isinstance(a, Quiver)]
    ends = [np.stack([a.XY[:, 1] + a.V, a.XY[:, 0] + a.U], 1) for a in found]
    starts = [a.XY[:, ::-1] for a in found]
    return np.concatenate(starts).astype(int), np.concatenate(ends)


def test_arrows_end_at_the_matched_patches():
    """Patches on a torus that turn by a column and a row."""
    patches = torch.eye(30).view(1, 1, 5, 6, 30)
    turned = patches.roll((1, 1), (2, 3))
    x = torch.cat([patches, turned, turned], 1).flatten(2, 3)
    starts, ends = arrows(draw(x, grid=(5, 6)).axes[0])
    assert len(starts) == 30
    for (row, column), end in zip(starts, ends):
        centre = (row + 1) % 5 + 0.5, (column + 1) % 6 + 0.5
        np.testing.assert_allclose(end, centre)


def test_patches_that_stay_have_no_arrow(features):
    still = features[:, :1].expand(1, 3, 12, 8)
    assert len(arrows(draw(still).axes[0])[0]) == 0


def test_rejected_matches_are_crosses(features):
    panel = draw(features, min_similarity=0.99).axes[0]
    assert len(panel.collections[0].get_offsets()) == 12
    assert len(arrows(panel)[0]) == 0


def test_doubtful_arrows_are_thinner(features):
    """All of random matches are doubtful, none of a pan."""
    thin, thick = (a.width for a in draw(features).axes[0].collections[1:])
    assert thin < thick


def test_labels_of_the_colour_bars_fit_into_the_figure(features):
    figure = draw(features)
    figure.draw_without_rendering()
    for ax in figure.axes[4:]:
        label = ax.yaxis.label.get_window_extent()
        assert figure.bbox.y0 <= label.y0 and label.y1 <= figure.bbox.y1


def test_refuses_a_frame_pair_out_of_range(features):
    with pytest.raises(ValueError, match='frame pair from 0 to 1.* got 2'):
        draw(features, 2)
