# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from ata_mm.ops import (
    Alignment,
    ExactMatcher,
    Matcher,
    align_frames,
    neighbour_similarity,
)
from ata_mm.ops.matching import base as frames
from ata_mm.ops.reference import align_literal, dealign_literal


def shuffled_clip(batch=2, frames=5, num=9, channels=16):
    """Patches that only change places: the routes are known."""
    patches = torch.randn(batch, 1, num, channels)
    routes = torch.rand(batch, frames, num).argsort(-1)
    routes[:, 0] = torch.arange(num)
    places = routes.argsort(-1)[..., None].expand(-1, -1, -1, channels)
    return patches.expand(-1, frames, -1, -1).gather(2, places), routes


def test_routes_follow_patches_that_change_places():
    x, routes = shuffled_clip()
    assert torch.equal(align_frames(x).routes, routes)


def test_aligned_patches_stay_the_same_over_time():
    x, _ = shuffled_clip()
    aligned = align_frames(x).align(x)
    assert torch.equal(aligned, aligned[:, :1].expand_as(x))


@pytest.mark.parametrize('dtype',
                         [torch.float32, torch.bfloat16, torch.float16])
def test_equals_the_literal_algorithms(dtype):
    x = torch.randn(6, 4, 5, 24).to(dtype)
    tokens = x.flatten(1, 2)[None]
    alignment = align_frames(tokens)
    aligned, dealignment = align_literal(x)
    assert torch.equal(alignment.align(tokens)[0], aligned.flatten(1, 2))
    assert torch.equal(dealign_literal(aligned, dealignment), x)


@pytest.mark.parametrize('dtype',
                         [torch.float32, torch.bfloat16, torch.float16])
def test_round_trip_is_exact_to_the_bit(dtype):
    x = torch.randn(2, 8, 49, 32).to(dtype)
    alignment = align_frames(x)
    assert torch.equal(alignment.dealign(alignment.align(x)), x)


def test_other_features_follow_the_same_routes():
    x, _ = shuffled_clip()
    alignment = align_frames(x)
    index = torch.arange(9.).expand(2, 5, 9)[..., None]
    assert torch.equal(alignment.align(index)[..., 0].long(), alignment.routes)


def test_gradient_of_align_is_dealign():
    x = torch.randn(2, 3, 6, 4, requires_grad=True)
    alignment = align_frames(x)
    gradient = torch.randn(2, 3, 6, 4)
    alignment.align(x).backward(gradient)
    assert torch.equal(x.grad, alignment.dealign(gradient))


def test_clips_of_a_batch_are_independent():
    x = torch.randn(3, 4, 7, 8)
    one = align_frames(x[1:2]).routes
    assert torch.equal(align_frames(x).routes[1:2], one)


def test_a_single_frame_is_left_alone():
    routes = align_frames(torch.randn(2, 1, 6, 4)).routes
    assert torch.equal(routes, torch.arange(6).expand(2, 1, 6))


def test_any_callable_can_match():

    def reverse(similarity):
        num = similarity.shape[-1]
        return torch.arange(num - 1, -1, -1).expand(similarity.shape[:-1])

    routes = align_frames(torch.randn(1, 3, 4, 2), matcher=reverse).routes
    assert routes[0].tolist() == [[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3]]


def test_grid_reaches_the_matcher():

    def match(similarity, grid):
        assert grid == (2, 3)
        return torch.arange(6).expand(similarity.shape[:-1])

    align_frames(torch.randn(1, 2, 6, 4), matcher=match, grid=(2, 3))


def test_refuses_a_grid_of_another_size():
    with pytest.raises(ValueError, match=r'N = 6 patches, got grid=\(2, 2\)'):
        align_frames(torch.randn(1, 2, 6, 4), grid=(2, 2))


@pytest.mark.parametrize('shape', [(3, 6, 4), (0, 2, 6, 4)])
def test_refuses_what_is_not_a_batch_of_clips(shape):
    with pytest.raises(ValueError, match=r'\(B, T, N, C\)'):
        align_frames(torch.randn(*shape))


def test_refuses_nan():
    x = torch.randn(1, 3, 4, 2)
    x[0, 1, 2, 0] = float('nan')
    with pytest.raises(ValueError, match='NaN'):
        align_frames(x)


def test_refuses_a_matcher_that_matches_twice():

    def nearest(similarity):
        return torch.zeros(similarity.shape[:-1], dtype=torch.long)

    with pytest.raises(ValueError, match='repeated'):
        align_frames(torch.randn(1, 3, 4, 2), matcher=nearest)


def test_refuses_a_matching_of_another_shape():
    with pytest.raises(ValueError, match=r'of shape \(1, 2, 4\)'):
        align_frames(torch.randn(1, 3, 4, 2), matcher=lambda s: s.long())


def test_refuses_features_of_another_clip():
    alignment = Alignment(torch.arange(4).expand(1, 3, 4))
    with pytest.raises(ValueError, match=r'\(1, 3, 4\), got \(1, 2, 4, 8\)'):
        alignment.align(torch.randn(1, 2, 4, 8))


def test_large_maps_are_matched_a_few_pairs_at_a_time(monkeypatch):
    x = torch.randn(2, 6, 9, 4)
    at_once = align_frames(x).routes
    monkeypatch.setattr(frames, '_MAX_SIMILARITIES', 2 * 9 * 9 * 2)
    sizes = []

    def matcher(similarity):
        sizes.append(similarity.shape[1])
        return ExactMatcher()(similarity)

    assert torch.equal(align_frames(x, matcher).routes, at_once)
    assert sizes == [2, 2, 1]


def test_a_matcher_of_features_is_given_features():
    x = torch.randn(2, 3, 4, 5)

    class Reverse(Matcher):

        def match_frames(self, features, grid):
            assert features is x and grid == (2, 2)
            return torch.arange(3, -1, -1).expand(2, 2, 4)

    routes = align_frames(x, Reverse(), (2, 2)).routes
    assert routes[0].tolist() == [[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3]]


def test_similarity_of_steps_is_what_the_matching_maximises():
    x = torch.randn(2, 4, 9, 16)
    steps = align_frames(x).similarity(x)
    best = neighbour_similarity(x).numpy()
    sums = [[pair[linear_sum_assignment(pair, True)].sum() for pair in clip]
            for clip in best]
    torch.testing.assert_close(steps.sum(-1), torch.tensor(sums))


def test_displacement_is_counted_in_patches():
    routes = torch.tensor([[[0, 1, 2, 3, 4, 5], [5, 1, 0, 3, 4, 2]]])
    steps = Alignment(routes).displacement((2, 3))  # rows of 3 patches
    expected = torch.tensor([5**0.5, 0, 2, 0, 0, 1])
    torch.testing.assert_close(steps, expected[None, None])


def test_displacement_refuses_another_grid():
    alignment = align_frames(torch.rand(1, 2, 6, 4))
    with pytest.raises(ValueError, match=r'N = 6 patches, got grid=\(2, 2\)'):
        alignment.displacement((2, 2))
