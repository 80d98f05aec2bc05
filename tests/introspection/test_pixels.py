# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch

from ata_mm.introspection import match_pixels
from ata_mm.introspection.pixels import gradient_histograms
from ata_mm.video import Clip, read_clip

GRID = (6, 8)


@pytest.fixture(scope='module')
def texture():
    """Smooth noise on 8 x 10 patches of 16 pixels."""
    noise = np.random.RandomState(0).rand(64, 80, 3)
    frame = noise.repeat(2, 0).repeat(2, 1)
    for axis in (0, 1):
        for _ in range(2):
            frame = (frame + np.roll(frame, 1, axis)) / 2
    return (frame * 255).astype(np.uint8)


def window(texture, row=1, column=1):
    """Return the 6 x 8 patches from a row and column on."""
    return texture[16 * row :, 16 * column :][: 16 * 6, : 16 * 8]


def routes(*frames, **options):
    clip = Clip(list(frames), list(range(len(frames))))
    return match_pixels(clip, GRID, **options).alignment.routes[0]


@pytest.mark.parametrize('column', [0, 2])
def test_follows_a_pan_of_one_patch(texture, column):
    found = routes(window(texture), window(texture, column=column))
    shift = 1 - column  # of the content, in columns
    inner = found.view(2, *GRID)[:, :, 1:-1]
    assert (inner[1] - inner[0] == shift).all()


def test_what_does_not_move_stays(video_root):
    clip, grid = read_clip(str(video_root / '0.mp4'), 3, 1, rows=6)
    still = Clip([clip.frames[0]] * 3, clip.numbers)
    found = match_pixels(still, grid).alignment.routes[0]
    assert torch.equal(found, torch.arange(48).expand(3, 48))


def test_follows_a_video(video_root):
    """It moves by 3 pixels a frame, patches of 8 by one column in 16/6."""
    clip, grid = read_clip(str(video_root / '0.mp4'), 2, 8, rows=6)
    found = match_pixels(clip, grid).alignment.routes[0].view(2, *grid)
    right = (found[1] - found[0])[:, :4]  # 24 pixels: three columns
    assert (right == 3).float().mean() > 0.8


def test_contrast_and_brightness_do_not_matter(texture):
    darker = (window(texture) * 0.4 + 90).astype(np.uint8)
    x = gradient_histograms([window(texture), darker], GRID)[0]
    similarity = torch.nn.functional.cosine_similarity(x[0], x[1], dim=-1)
    assert similarity.min() > 0.75


def test_position_does_not_matter(texture):
    frames = [window(texture), window(texture, column=2)]
    x = gradient_histograms(frames, GRID)[0].view(2, *GRID, 32)
    # Smoothing mirrors the content at the border of a frame.
    torch.testing.assert_close(
        x[0, 1:-1, 2:-1], x[1, 1:-1, 1:-2], rtol=0, atol=0.02
    )


def test_unrelated_frames_are_rejected():
    frames = np.random.RandomState(0).randint(0, 255, (2, 96, 128, 3))
    clip = Clip(list(frames.astype(np.uint8)), [0, 1])
    accepted = match_pixels(clip, GRID).alignment.accepted
    assert accepted[:, 1].float().mean() < 0.1


def test_frames_without_structure_are_finite():
    flat = np.full((96, 128, 3), 90, np.uint8)
    assert not gradient_histograms([flat, flat], GRID).any()


def test_options_are_those_of_the_alignment(texture):
    clip = Clip([window(texture)] * 3, [0, 1, 2])
    options = dict(
        reference='previous', refine=1, min_similarity=None, support_radius=0
    )
    block = match_pixels(clip, GRID, **options)
    assert block.options == options and block.alignment.segments is None
