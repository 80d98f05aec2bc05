# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What the options of align_frames follow, on textures of known motion."""

import pytest
import torch
import torch.nn.functional as F

from ata_mm.ops import (
    Alignment,
    CoarseToFineMatcher,
    ExactMatcher,
    LocalMatcher,
    align_frames,
)


def textured_clip(step, noise=0.0, frames=8, grid=(8, 12), channels=16):
    """Return a smooth texture that pans to the left, and its true columns.

    Args:
        step (int): Quarters of a patch a frame.
        noise (float): Standard deviation of noise that differs in each frame,
            in units of that of the texture. Defaults to 0.
        frames (int): Number of frames. Defaults to 8.
        grid (tuple[int, int]): Height and width in patches. Defaults to
            (8, 12).
        channels (int): Channels of the features. Defaults to 16.

    Returns:
        tuple[Tensor, Tensor]: (1, T, N, C), and the column in which the
        content of each patch of frame 0 is, (T, N).
    """
    height, width = 4 * grid[0], 4 * grid[1]
    pixels = torch.randn(1, channels, height + 8, width + 8 + step * frames)
    texture = F.avg_pool2d(pixels, 9, 1)
    clip = torch.cat(
        [
            F.avg_pool2d(texture[..., step * t : step * t + width], 4)
            for t in range(frames)
        ]
    ).flatten(2)
    clip = clip / clip.std()
    clip = clip + noise * torch.randn_like(clip)
    columns = torch.arange(grid[1]).repeat(grid[0])
    columns = columns - step / 4 * torch.arange(frames)[:, None]
    return clip.transpose(1, 2)[None], columns


def share_followed(step, noise=0.0, clips=3, grid=(8, 12), **options):
    """Return the share of content in view that is within a patch at the end.

    Args:
        step (int): Quarters of a patch a frame.
        noise (float): See `textured_clip`. Defaults to 0.
        clips (int): Number of clips. Defaults to 3.
        grid (tuple[int, int]): Height and width in patches.
        **options: Of `align_frames`.
    """
    shares = []
    for seed in range(clips):
        torch.manual_seed(seed)
        x, columns = textured_clip(step, noise, grid=grid)
        routes = align_frames(x, ExactMatcher(), grid, **options).routes[0, -1]
        same_row = routes // grid[1] - torch.arange(len(routes)) // grid[1]
        error = torch.stack([routes % grid[1] - columns[-1], same_row])
        shares.append((error.abs().amax(0) <= 1)[columns[-1] >= 0])
    return torch.cat(shares).float().mean().item()


@pytest.mark.parametrize('step', [1, 2])
def test_slow_motion_is_followed_from_the_first_frame(step):
    assert share_followed(step, reference='previous') < 0.5
    assert share_followed(step, reference='first') > 0.9


@pytest.mark.parametrize('step', [1, 2, 3])
def test_noisy_motion_is_followed_better_with_support(step):
    alone, supported = (
        share_followed(step, 1.0, reference='first', support_radius=radius)
        for radius in (0, 1)
    )
    assert alone < 0.6 and supported > 0.8


def test_noisy_patches_are_followed_better_with_refinement():
    routes = torch.rand(2, 8, 49).argsort(-1)
    routes[:, 0] = torch.arange(49)
    x = torch.randn(2, 1, 49, 16) + 0.7 * torch.randn(2, 8, 49, 16)
    x = Alignment(routes).dealign(x)
    wrong, refined = (
        align_frames(x, ExactMatcher(), reference='first', refine=times).routes
        != routes
        for times in (0, 1)
    )
    assert refined.sum() < 0.5 * wrong.sum()


@pytest.mark.parametrize('pan', [1, 2, 3])
def test_leaving_content_spoils_less_of_what_stays_with_rejection(pan):
    x = torch.randn(4, 1, 8, 8 + pan, 8)
    x = torch.cat([x[..., :8, :], x[..., pan:, :]], 1)
    x = (x + 0.2 * torch.randn_like(x)).flatten(2, 3)
    patches = torch.arange(64).view(8, 8)
    leave, stay, target = (
        patches[:, columns].flatten()
        for columns in (slice(pan), slice(pan, None), slice(8 - pan))
    )
    plain, rejecting = (
        align_frames(x, ExactMatcher(), min_similarity=least)
        for least in (None, 0.7)
    )
    wrong, fewer = (
        (alignment.routes[:, 1, stay] != target).sum()
        for alignment in (plain, rejecting)
    )
    assert fewer < 0.5 * wrong
    assert rejecting.accepted[:, 1, stay].float().mean() > 0.95
    assert rejecting.accepted[:, 1, leave].float().mean() < 0.5


WALL, BAR = (slice(5, 20), slice(5, 20)), (slice(0, 4), slice(None))


@pytest.mark.parametrize('matcher', [LocalMatcher(3), CoarseToFineMatcher()])
@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('area', [WALL, BAR], ids=['wall', 'bar'])
def test_equal_patches_stay_in_place_before_a_pan(area, seed, matcher):
    generator = torch.Generator().manual_seed(seed)
    side = 33  # more than are matched exactly
    scene = torch.randn(side, side + 1, 16, generator=generator)
    clip = torch.stack([scene[:, 1:], scene[:, :-1]])
    clip[(slice(None), *area)] = torch.randn(16, generator=generator)
    alignment = align_frames(clip.view(1, 2, -1, 16), matcher, (side, side))
    column = alignment.grid_positions((side, side))[0, 1, :, 1]
    steps = column.view(side, side) - torch.arange(side)
    assert (steps[area] == 0).float().mean() > 0.95
    steps[area] = 1
    # What enters the view is matched to what has left.
    assert (steps[:, :-1] == 1).float().mean() > 0.9
