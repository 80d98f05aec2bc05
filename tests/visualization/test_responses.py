# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest

from ata_mm.visualization import overlay, responses_figure
from ata_mm.visualization.responses import responses_images


@pytest.fixture
def frames():
    return [np.full((40, 60, 3), 90, np.uint8)] * 4


@pytest.fixture
def response():
    """Highest at the lower right of the last frame, lowest in the first."""
    return np.arange(24.0).reshape(4, 2, 3) / 7 - 1


def test_highest_is_red_and_lowest_blue(frames, response):
    images = overlay(frames, response, alpha=1.0)
    assert images[3][-1, -1].tolist() == [127, 0, 0]
    assert images[0][0, 0].tolist() == [0, 0, 127]


def test_frames_show_through_at_alpha_0(frames, response):
    assert np.array_equal(overlay(frames, response, alpha=0.0)[2], frames[2])


def test_constant_response_has_one_colour(frames):
    images = overlay(frames, np.ones((4, 2, 3)))
    assert np.ptp(images[0].reshape(-1, 3), axis=0).tolist() == [0, 0, 0]


def test_fewer_responses_than_frames_are_spread_evenly(frames, response):
    images = overlay(frames, response[:2])
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[1], images[2])


def test_figure_has_a_row_for_each_model(frames, response):
    figure = responses_figure(frames, dict(a=response, b_c=-response))
    names = [ax.get_ylabel() for ax in figure.axes[:-1:4]]
    assert names == ['frames', 'a', 'b c']


def test_figure_of_a_long_clip_shows_evenly_spread_frames(frames, response):
    figure = responses_figure(frames * 4, dict(a=response), columns=4)
    titles = [ax.get_title() for ax in figure.axes[:4]]
    assert titles == ['t = 0', 't = 5', 't = 10', 't = 15']


def test_images_have_the_models_side_by_side(frames, response):
    one = responses_images(frames, dict(a=response))
    two = responses_images(frames, dict(a=response, b=response))
    assert len(two) == 4 and two[0].shape[1] > 1.4 * one[0].shape[1]
