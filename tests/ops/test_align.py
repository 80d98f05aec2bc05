# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from ata_mm.ops import (
    AutoMatcher,
    ExactMatcher,
    MatchingCache,
    align,
    align_frames,
    neighbour_similarity,
)
from ata_mm.ops.reference import align_literal, dealign_literal


def shuffled_clip(batch=2, frames=5, num=9, channels=16):
    """Return patches that only change positions, and their routes."""
    patches = torch.randn(batch, 1, num, channels)
    routes = torch.rand(batch, frames, num).argsort(-1)
    routes[:, 0] = torch.arange(num)
    index = routes.argsort(-1)[..., None].expand(-1, -1, -1, channels)
    return patches.expand(-1, frames, -1, -1).gather(2, index), routes


def reverse(similarity):
    num = similarity.shape[-1]
    return torch.arange(num - 1, -1, -1).expand(similarity.shape[:-1])


def test_routes_follow_patches_that_change_positions():
    x, routes = shuffled_clip()
    assert torch.equal(align_frames(x).routes, routes)


def test_aligned_patches_are_constant_over_time():
    x, _ = shuffled_clip()
    aligned = align_frames(x).align(x)
    assert torch.equal(aligned, aligned[:, :1].expand_as(x))


@pytest.mark.parametrize(
    'dtype', [torch.float32, torch.bfloat16, torch.float16]
)
def test_equals_the_literal_algorithms(dtype):
    x = torch.randn(6, 4, 5, 24).to(dtype)
    tokens = x.flatten(1, 2)[None]
    alignment = align_frames(tokens)
    aligned, dealignment = align_literal(x)
    assert torch.equal(alignment.align(tokens)[0], aligned.flatten(1, 2))
    assert torch.equal(
        alignment.dealign(aligned.flatten(1, 2)[None])[0].view_as(x),
        dealign_literal(aligned, dealignment),
    )


def test_gradient_is_that_of_the_literal_algorithms():
    x = torch.randn(4, 3, 4, 8, requires_grad=True)
    weight = torch.randn(4, 12, 8)
    tokens = x.flatten(1, 2)[None]
    fast = (align_frames(tokens).align(tokens)[0] * weight).sum()
    literal = (align_literal(x)[0].flatten(1, 2) * weight).sum()
    assert torch.equal(
        *(torch.autograd.grad(loss, x)[0] for loss in (fast, literal))
    )


def test_steps_have_the_largest_total_similarity():
    x = torch.randn(2, 4, 9, 16)
    steps = align_frames(x).similarity(x)
    largest = [
        [pair[linear_sum_assignment(pair, True)].sum() for pair in clip]
        for clip in neighbour_similarity(x).numpy()
    ]
    torch.testing.assert_close(steps.sum(-1), torch.tensor(largest))


def test_a_single_frame_keeps_its_order():
    routes = align_frames(torch.randn(2, 1, 6, 4)).routes
    assert torch.equal(routes, torch.arange(6).expand(2, 1, 6))


def test_matchings_compose_to_routes():
    routes = align_frames(torch.randn(1, 3, 4, 2), matcher=reverse).routes
    assert routes[0].tolist() == [[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3]]


@pytest.mark.parametrize('grid', [None, (2, 3)])
def test_a_function_is_called_with_the_grid_if_there_is_one(grid):
    calls = []

    def match(similarity, **options):
        calls.append(options)
        return reverse(similarity)

    align_frames(torch.randn(1, 2, 6, 4), match, grid)
    assert calls == [{} if grid is None else dict(grid=grid)]


@pytest.mark.parametrize('arguments', [(), ('auto',)])
def test_auto_matcher_is_the_default(arguments, monkeypatch):
    chosen = []

    def choose(self, num_patches, device):
        chosen.append(num_patches)
        return ExactMatcher()

    monkeypatch.setattr(AutoMatcher, 'choose', choose)
    align_frames(torch.randn(1, 2, 6, 4), *arguments)
    assert chosen == [6]


@pytest.mark.parametrize('matcher', [None, 'SinkhornMatcher', ExactMatcher])
def test_refuses_what_is_not_a_matcher(matcher):
    with pytest.raises(ValueError, match="matcher='auto'"):
        align_frames(torch.randn(1, 2, 4, 3), matcher)


def test_refuses_a_grid_of_another_size():
    with pytest.raises(ValueError, match=r'N = 6 patches, got grid=\(2, 2\)'):
        align_frames(torch.randn(1, 2, 6, 4), grid=(2, 2))


@pytest.mark.parametrize('shape', [(3, 6, 4), (0, 2, 6, 4)])
def test_refuses_what_is_not_a_batch_of_clips(shape):
    with pytest.raises(ValueError, match=r'\(B, T, N, C\)'):
        align_frames(torch.randn(*shape))


def test_refuses_a_matcher_that_matches_a_patch_twice():

    def nearest(similarity):
        return torch.zeros(similarity.shape[:-1], dtype=torch.long)

    with pytest.raises(ValueError, match='repeated'):
        align_frames(torch.randn(1, 3, 4, 2), matcher=nearest)


def test_refuses_a_matcher_that_matches_beyond_the_last_patch():

    def beyond(similarity):
        return torch.full(similarity.shape[:-1], 6)

    with pytest.raises(ValueError, match='permutations of 0..5'):
        align_frames(torch.randn(1, 4, 6, 8), matcher=beyond)


def test_routes_keep_the_order_on_the_meta_device():
    x = torch.empty(2, 3, 4, 5, device='meta')
    alignment = align_frames(x)
    assert alignment.routes.shape == alignment.align(x).shape[:3] == (2, 3, 4)


@pytest.mark.parametrize('able', [True, False])
@pytest.mark.parametrize('cache', [None, MatchingCache()])
def test_only_a_traceable_matching_is_traced(able, cache, monkeypatch):

    class Noting(ExactMatcher):
        def can_compile(self, device, num_patches):
            assert (device.type, num_patches) == ('cpu', 4)
            return able

    outside = []
    monkeypatch.setattr(align, 'is_compiling', lambda: True)
    monkeypatch.setattr(
        torch.compiler, 'disable', lambda f: outside.append(f) or f
    )
    align_frames(torch.randn(1, 3, 4, 2), Noting(), cache=cache)
    assert bool(outside) == (not able or cache is not None)
