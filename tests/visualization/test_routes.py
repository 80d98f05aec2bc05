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


def lost(alignment):
    """Reject the match of route 4, the patch (1, 0), into frame 1."""
    accepted = torch.ones(2, 3, 12, dtype=torch.bool)
    accepted[1, 1, 4] = False
    return Alignment(alignment.routes, accepted)


def panels(frames, alignment, patch, clip=0):
    """Return the numbers of boxes and of segments, and texts of each frame."""
    figure = routes_figure(frames, alignment, GRID, [patch], clip=clip)
    axes = figure.axes[:3]
    texts = [[text.get_text() for text in ax.texts] for ax in axes]
    # The last line of a route is that of its previous positions.
    segments = [len(ax.lines) - 1 for ax in axes]
    return [len(ax.patches) for ax in axes], segments, texts


def test_a_lost_route_has_a_cross_instead_of_a_box(frames, alignment):
    boxes, _, texts = panels(frames, lost(alignment), (1, 0), clip=1)
    assert boxes == [1, 0, 0] and texts == [[], ['✕'], ['✕']]


def test_a_lost_route_has_no_trail(frames, alignment):
    assert panels(frames, alignment, (1, 0), clip=1)[1] == [0, 1, 2]
    assert panels(frames, lost(alignment), (1, 0), clip=1)[1] == [0, 0, 0]


def test_a_route_found_again_has_a_box(frames, alignment):
    """Frame 2 is matched to frame 0."""
    again = Alignment(alignment.routes, lost(alignment).accepted, [0, 0])
    assert panels(frames, again, (1, 0), clip=1)[0] == [1, 0, 1]


def test_a_doubtful_step_has_a_question_mark(frames):
    """The patch (1, 1) moves, all others stay, but for that at its end."""
    routes = torch.arange(12).repeat(1, 3, 1)
    routes[0, 1:, [5, 11]] = torch.tensor([11, 5])
    assert panels(frames, Alignment(routes), (1, 1))[2] == [[], ['?'], []]


def turning(columns):
    """Return routes on 6 x 8 patches, of which some columns move down."""
    patches = torch.arange(48).view(6, 8)
    later = patches.clone()
    later[:, columns] = patches[[1, 2, 3, 4, 5, 0]][:, columns]
    return Alignment(torch.stack([patches, later]).flatten(1)[None])


def test_chosen_patches_are_those_that_move():
    for _, column in choose_patches(turning([2, 3, 4]), (6, 8), number=3):
        assert column in (2, 3, 4)


def test_chosen_patches_have_a_high_similarity():
    similarity = torch.full((1, 1, 48), 0.1)
    similarity[0, 0, 19] = 0.9
    patches = choose_patches(turning([2, 3, 4]), (6, 8), similarity, number=1)
    assert patches == [(2, 3)]


def test_chosen_patches_have_no_doubtful_step():
    """Two single patches go farther than the others, and change places."""
    routes = turning([1, 2, 3]).routes
    routes[0, 1, [14, 30]] = torch.tensor([30, 14])
    (patch,) = choose_patches(Alignment(routes), (6, 8), number=1)
    assert patch[1] in (1, 2, 3)


def test_chosen_patches_are_not_rejected():
    routes = turning([2, 3, 4]).routes
    accepted = torch.zeros(1, 2, 48, dtype=torch.bool)
    accepted[:, 0], accepted[:, 1, 20] = True, True
    patches = choose_patches(Alignment(routes, accepted), (6, 8), number=1)
    assert patches == [(2, 4)]


def test_chosen_patches_are_distinct(alignment):
    assert len(set(choose_patches(alignment, GRID, number=12))) == 12
