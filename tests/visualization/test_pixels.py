# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import torch

from ata_mm.video import Clip, read_pictures
from ata_mm.visualization.pixels import match_pixels


def test_pixels_follow_a_texture(video_root):
    """It moves by 3 pixels a frame, patches of 8 by one column in 16/6."""
    clip, grid = read_pictures(str(video_root / '0.mp4'), 2, 8, rows=6)
    block = match_pixels(clip, grid)
    routes = block.alignment.routes[0].view(2, *grid)
    right = (routes[1] - routes[0])[:, :4]  # 24 pixels: three columns
    assert (right == 3).float().mean() > 0.8


def test_pixels_that_do_not_move_stay(video_root):
    clip, grid = read_pictures(str(video_root / '0.mp4'), 3, 1, rows=6)
    still = Clip([clip.frames[0]] * 3, clip.numbers)
    routes = match_pixels(still, grid).alignment.routes[0]
    assert torch.equal(routes, torch.arange(48).expand(3, 48))
