# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from ata_mm.visualization.canvas import (
    frame_figure,
    frame_labels,
    render,
    save_figure,
    show_frame,
)

FRAME = np.full((60, 90, 3), 200, np.uint8)


@pytest.mark.parametrize('width', [480, 100])
def test_figure_has_the_proportions_of_the_frame_in_even_pixels(width):
    height, rendered_width = render(frame_figure(FRAME, width)[0]).shape[:2]
    assert rendered_width == width
    assert height % 2 == 0 and abs(height - width * 60 / 90) <= 1


@pytest.mark.parametrize('shade, grey', [(0.0, 200), (0.5, 100)])
def test_frame_fills_the_figure_at_its_shade(shade, grey):
    figure, ax = frame_figure(FRAME, 90)
    show_frame(ax, FRAME, (2, 3), shade)
    assert (render(figure) == grey).all()


def test_units_of_the_axes_are_patches():
    ax = frame_figure(FRAME, 90)[1]
    show_frame(ax, FRAME, (2, 3))
    assert ax.get_xlim() == (0, 3) and ax.get_ylim() == (2, 0)


def test_labels_are_times_by_default():
    assert frame_labels(None, 2) == ['t = 0', 't = 1']
    assert frame_labels(['a', 'b'], 2) == ['a', 'b']


def test_a_figure_has_the_format_of_its_suffix(tmp_path):
    save_figure(frame_figure(FRAME, 100)[0], tmp_path / 'a.pdf')
    assert (tmp_path / 'a.pdf').read_bytes().startswith(b'%PDF')


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match='png.* got .*a.xyz'):
        save_figure(frame_figure(FRAME, 100)[0], tmp_path / 'a.xyz')


def test_a_full_disk_leaves_no_half_of_a_figure(tmp_path, full_disk):
    figure, _ = frame_figure(FRAME, 100)
    with full_disk(100), pytest.raises(OSError, match='a.png'):
        save_figure(figure, tmp_path / 'a.png')
    assert not list(tmp_path.iterdir())
