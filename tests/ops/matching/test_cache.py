# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.ops import (
    CoarseToFineMatcher,
    DisplacementMatcher,
    ExactMatcher,
    LocalMatcher,
    MatchingCache,
    SinkhornMatcher,
    align_frames,
)

GENERATOR = torch.Generator().manual_seed(0)
VIDEO = torch.randn(2, 12, 16, 8, generator=GENERATOR)

# Half of the matches of random patches are rejected. The last one has all that
# a cache can be used with.
OPTIONS = [
    dict(reference='first'),
    dict(reference='first', min_similarity=0.5),
    dict(reference=2, refine=1),
    dict(refine=1),
    dict(support_radius=1),
    dict(min_similarity=0.5),
    dict(refine=1, min_similarity=0.2, support_radius=1),
]


def windows(stride, length=6):
    starts = range(0, VIDEO.shape[1] - length + 1, stride)
    return [VIDEO[:, start : start + length] for start in starts]


def test_windows_in_one_buffer():
    cache, buffer = MatchingCache(), VIDEO[:, :6].clone()
    for window in windows(1):
        buffer.copy_(window)
        alignment = align_frames(buffer, ExactMatcher(), cache=cache)
        expected = align_frames(window, ExactMatcher())
        assert torch.equal(alignment.routes, expected.routes)


@pytest.mark.parametrize(
    'matcher', [ExactMatcher(), CoarseToFineMatcher(), LocalMatcher(radius=2)]
)
@pytest.mark.parametrize('stride', [1, 2, 5, 6])
def test_routes_are_those_without_a_cache(matcher, stride):
    cache = MatchingCache()
    for window in windows(stride):
        cached = align_frames(window, matcher, (4, 4), cache)
        plain = align_frames(window, matcher, (4, 4))
        assert torch.equal(cached.routes, plain.routes)


@pytest.mark.parametrize('options', OPTIONS, ids=str)
@pytest.mark.parametrize('stride', [1, 4])
def test_options_give_the_alignments_without_a_cache(options, stride):
    cache = MatchingCache()
    for window in windows(stride):
        cached, plain = (
            align_frames(window, grid=(4, 4), cache=c, **options)
            for c in (cache, None)
        )
        assert torch.equal(cached.routes, plain.routes)
        assert torch.equal(cached.accepted, plain.accepted)
        if options.get('min_similarity') is None:
            assert cached.segments is None
        else:
            assert torch.equal(cached.segments, plain.segments)


@pytest.mark.parametrize(
    'matcher', [SinkhornMatcher(0.2), DisplacementMatcher(1, 0.2)]
)
def test_options_of_soft_matchers_give_those_without_a_cache(matcher):
    cache, options = MatchingCache(), OPTIONS[-1]
    for window in windows(stride=1):
        cached, plain = (
            align_frames(window, matcher, (4, 4), c, **options)
            for c in (cache, None)
        )
        torch.testing.assert_close(cached.align(window), plain.align(window))
        assert torch.equal(cached.accepted, plain.accepted)


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_only_matches_to_the_previous_frame_are_reused(options):
    cache = MatchingCache()
    for window in windows(stride=1):
        align_frames(window, grid=(4, 4), cache=cache, **options)
    anchored = 'reference' in options  # where depends on the window's start
    assert cache.reused == (0 if anchored else 24)


@pytest.mark.parametrize(
    'stride, solved',
    [(1, [5, 1, 1, 1, 1, 1, 1]), (2, [5, 2, 2, 2]), (5, [5, 5]), (6, [5, 5])],
)
def test_shared_pairs_are_not_solved_again(stride, solved):
    cache, counts = MatchingCache(), []
    for window in windows(stride):
        align_frames(window, cache=cache)
        counts.append(cache.solved - sum(counts))
    assert counts == solved
    assert cache.solved + cache.reused == 5 * len(counts)


def test_the_same_window_needs_no_solve():
    cache = MatchingCache()
    first, again = (align_frames(VIDEO, cache=cache) for _ in range(2))
    assert torch.equal(first.routes, again.routes)
    assert (cache.solved, cache.reused) == (11, 11)


@pytest.mark.parametrize('tolerance, reused', [(0.0, 0), (1e-5, 9)])
def test_tolerance_accepts_rounding(tolerance, reused):
    cache = MatchingCache(tolerance)
    for window in windows(stride=2):
        align_frames(window * (1 + 1e-6 * torch.rand(6, 1, 1)), cache=cache)
    assert cache.reused == reused


@pytest.mark.parametrize('scale', [1e-3, 1e3, 1e25])
def test_tolerance_is_relative_to_the_features(scale):
    for difference, reused in ((1e-4, 11), (1e-1, 0)):
        cache = MatchingCache(tolerance=1e-2)
        align_frames(scale * VIDEO, cache=cache)
        align_frames(scale * (VIDEO + difference), cache=cache)
        assert cache.reused == reused


def test_a_frame_that_differs_in_one_feature_is_solved_again():
    cache, changed = MatchingCache(1e-5), VIDEO.clone()
    align_frames(VIDEO, cache=cache)
    changed[0, 3, 2, 1] += 1e-3
    align_frames(changed, cache=cache)
    assert cache.reused == 0


def test_features_of_another_shape_or_dtype_are_solved():
    cache = MatchingCache()
    for x in (VIDEO, VIDEO[:1], VIDEO[:, :, :9], VIDEO.double()):
        align_frames(x, cache=cache)
    assert cache.reused == 0


def test_a_single_frame_has_no_pair():
    routes = align_frames(VIDEO[:, :1], cache=MatchingCache()).routes
    assert routes.shape == (2, 1, 16)


@pytest.mark.parametrize(
    'options',
    [
        dict(min_similarity=0.9),
        dict(support_radius=1, grid=(2, 3)),
        dict(matcher=LocalMatcher(radius=1), grid=(2, 3)),
    ],
)
def test_matchings_of_other_options_are_not_reused(options):
    x, cache = torch.randn(1, 4, 6, 8), MatchingCache()
    align_frames(x, cache=cache)
    found = align_frames(x, cache=cache, **options)
    expected = align_frames(x, **options)
    assert torch.equal(found.routes, expected.routes)
    assert (found.accepted is None) == (expected.accepted is None)
    assert cache.reused == 0


@pytest.mark.parametrize('tolerance', [-1e-5, float('nan')])
def test_tolerance_below_zero_is_refused(tolerance):
    with pytest.raises(ValueError, match='from 0'):
        MatchingCache(tolerance)
