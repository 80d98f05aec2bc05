# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch

from ata_mm.ops import Alignment
from ata_mm.visualization import choose_patches, draw_routes, routes_figure

GRID = (3, 4)


@pytest.fixture
def frames():
    """Three grey frames of 60 x 80 pixels: patches of 20 x 20."""
    return [np.full((60, 80, 3), 90, np.uint8) for _ in range(3)]


@pytest.fixture
def alignment():
    """Two clips; in the second, all patches move one column to the right."""
    patches = torch.arange(12).view(GRID)
    moves = torch.stack([patches.roll(-t, 1).flatten() for t in range(3)])
    return Alignment(torch.stack([torch.arange(12).expand(3, 12), moves]))


def coloured(image):
    """Return the patches with colour inside their borders."""
    inside = image.reshape(3, 160, 4, 160, 3)[:, 8:-8, :, 8:-8].astype(int)
    colour = (np.ptp(inside, axis=-1) > 60).any((1, 3))
    return {tuple(patch) for patch in np.argwhere(colour).tolist()}


def draw(frames, alignment, patches=((1, 0),), **options):
    return draw_routes(frames, alignment, GRID, patches, width=640, **options)


def test_returns_one_image_per_frame(frames, alignment):
    images = draw(frames, alignment)
    assert [i.shape for i in images] == [(480, 640, 3)] * 3
    assert images[0].dtype == np.uint8


@pytest.mark.parametrize('clip, columns', [(0, [0, 0, 0]), (1, [0, 1, 2])])
def test_trail_follows_the_route(clip, columns, frames, alignment):
    images = draw(frames, alignment, clip=clip)
    for t in (1, 2):
        assert coloured(images[t]) == {(1, c) for c in columns[: t + 1]}


def test_box_is_around_the_patch_of_the_route(frames, alignment):
    edge = draw(frames, alignment, clip=1)[2][160:320, 478:483].astype(int)
    assert (np.ptp(edge, axis=-1) > 60).any(1).all()  # right of column 2


def test_patches_refer_to_the_start_frame(frames, alignment):
    first = draw(frames, alignment, [(1, 2)], clip=1, start=2)
    other = draw(frames, alignment, [(1, 0)], clip=1, start=0)
    assert all(np.array_equal(a, b) for a, b in zip(first, other))


def test_similarity_of_the_step_is_written_from_frame_1(frames, alignment):
    plain = draw(frames, alignment)
    written = draw(frames, alignment, similarity=torch.rand(2, 2, 12))
    same = [np.array_equal(a, b) for a, b in zip(plain, written)]
    assert same == [True, False, False]


def test_refuses_a_patch_outside_of_the_grid(frames, alignment):
    with pytest.raises(ValueError, match=r'columns from 0 to 3, got \(1, 4\)'):
        draw(frames, alignment, [(1, 4)])


def test_refuses_another_number_of_frames(frames, alignment):
    with pytest.raises(ValueError, match='Expected T = 3 frames .* got 2'):
        draw(frames[:2], alignment)


def test_figure_has_a_panel_for_each_frame(frames, alignment):
    figure = routes_figure(
        frames, alignment, GRID, [(0, 0)], labels=['a', 'b', 'c'], columns=2
    )
    titles = [ax.get_title(loc='left') for ax in figure.axes]
    assert titles == ['a', 'b', 'c', '']


def test_chosen_patches_are_those_that_change(frames):
    frames[1][20:40, 40:60] += 50
    assert choose_patches(frames, GRID, 1) == [(1, 2)]


def test_chosen_patches_have_a_high_similarity(frames):
    frames[1][20:40] += 50
    similarity = torch.full((2, 12), 0.1)
    similarity[:, 7] = 0.9
    assert choose_patches(frames, GRID, 1, similarity) == [(1, 3)]


def test_chosen_patches_are_distinct(frames):
    assert len(set(choose_patches(frames, GRID, 12))) == 12
