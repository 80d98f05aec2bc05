# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Options of align_frames: references, refinement, rejection, support."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from ata_mm.ops import (
    AutoMatcher,
    CoarseToFineMatcher,
    DisplacementMatcher,
    ExactMatcher,
    LocalMatcher,
    Matcher,
    SinkhornMatcher,
    align_frames,
)
from ata_mm.ops.matching.similarity import aggregate, unfold_support
from ata_mm.ops.permutation import identity

GRID = (3, 4)
HARD = {
    'exact': ExactMatcher(),
    'auto': AutoMatcher(),
    'coarse to fine': CoarseToFineMatcher(max_exact=4, group_size=4),
    'local': LocalMatcher(1),
}
SOFT = {
    'sinkhorn': SinkhornMatcher(0.2, 10),
    'displacement': DisplacementMatcher(1, 0.2),
}
ALL = {**HARD, **SOFT}
every = pytest.mark.parametrize('name', ALL)

# The frames that frames 1 to 4 are matched to.
ANCHORS = {'previous': (0, 1, 2, 3), 'first': (0, 0, 0, 0), 2: (0, 0, 2, 2)}
OPTIONS = [
    dict(reference=reference, min_similarity=least, support_radius=radius)
    for reference, least, radius in itertools.product(
        ANCHORS, (None, 0.55), (0, 1)
    )
]
each = pytest.mark.parametrize('options', OPTIONS, ids=str)
EVERYTHING = dict(
    reference='first', refine=1, min_similarity=0.4, support_radius=1
)


def related_clip(batch=1, frames=5, channels=16):
    """Return patches that resemble those of frame 0, of different norms."""
    x = torch.randn(batch, 1, 12, channels)
    x = x + torch.randn(batch, frames, 12, channels)
    return x * (0.5 + torch.rand(batch, frames, 12, 1))


def similarity_of(first, second, radius=0):
    """Compare two frames (N, C)."""
    products = F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).t()
    return aggregate(products, GRID, radius)


def check_matches(alignment, t, similarity, before, least=None):
    """Check the matches into frame t, and which of them are accepted.

    Args:
        alignment (Alignment): Of one clip.
        t (int): The frame.
        similarity (Tensor): Between the patches of another frame and this.
        before (Tensor): Patch of the other frame on each route.
        least (float, optional): The least similarity. Defaults to None.
    """
    matched = similarity[before, alignment.routes[0, t]]
    accepted = torch.ones(12) > 0 if least is None else matched > least
    assert torch.equal(alignment.accepted[0, t], accepted)
    # Among equal similarities the solver may choose: the sums are compared.
    bound = -1.0 if least is None else least
    best = linear_sum_assignment(similarity.clamp_min(bound), True)
    torch.testing.assert_close(
        matched.clamp_min(bound).sum(),
        similarity[best].clamp_min(bound).sum(),
        rtol=1e-5,
        atol=0,
    )


@each
def test_frames_are_matched_to_their_reference(options):
    x = related_clip()
    alignment = align_frames(x, ExactMatcher(), GRID, **options)
    routes = alignment.routes[0]
    assert torch.equal(routes[0], torch.arange(12))
    for t, anchor in enumerate(ANCHORS[options['reference']], start=1):
        similarity = similarity_of(
            x[0, anchor], x[0, t], options['support_radius']
        )
        check_matches(
            alignment, t, similarity, routes[anchor], options['min_similarity']
        )


def template_of(x, alignment, t):
    """Average what the routes through the patches of frame t show elsewhere.

    Patch by patch: x (T, N, C) -> (N, C), up to the norm.
    """
    template = torch.zeros_like(x[0])
    for route, s in itertools.product(range(12), range(len(x))):
        behind = alignment.segments is not None and (
            alignment.segments[0, s, route] != alignment.segments[0, 0, route]
        )
        if s != t and not behind:
            shown = x[s, alignment.routes[0, s, route]]
            template[alignment.routes[0, t, route]] += shown / shown.norm()
    return template


@pytest.mark.parametrize('refine', [1, 2])
@each
def test_frames_are_matched_again_to_the_mean_of_the_others(options, refine):
    x = related_clip()
    before, after = (
        align_frames(x, ExactMatcher(), GRID, refine=times, **options)
        for times in (refine - 1, refine)
    )
    for t in range(1, 5):
        similarity = similarity_of(
            template_of(x[0], before, t), x[0, t], options['support_radius']
        )
        check_matches(
            after,
            t,
            similarity,
            before.routes[0, t],
            options['min_similarity'],
        )


@each
def test_some_matches_are_rejected(options):
    """Without which the two tests above would show little."""
    x = related_clip(batch=4)
    accepted = align_frames(x, ExactMatcher(), GRID, **options).accepted[:, 1:]
    share = accepted.float().mean()
    if options['min_similarity'] is None:
        assert share == 1
    else:
        assert 0.1 < share < 0.9


@every
def test_numbers_of_frames_include_the_previous_and_the_first(name):
    x = related_clip(batch=2)
    for number, word in ((1, 'previous'), (5, 'first'), (9, 'first')):
        numbered, named = (
            align_frames(
                x, ALL[name], GRID, reference=reference, min_similarity=0.4
            )
            for reference in (number, word)
        )
        assert torch.equal(numbered.align(x), named.align(x))
        assert torch.equal(numbered.segments, named.segments)


@pytest.mark.parametrize('refine', [0, 2])
@each
def test_a_single_frame_keeps_its_order(options, refine):
    x = related_clip(batch=2, frames=1)
    alignment = align_frames(x, ExactMatcher(), GRID, refine=refine, **options)
    assert torch.equal(alignment.routes, torch.arange(12).expand(2, 1, 12))
    assert alignment.accepted.shape == (2, 1, 12) and alignment.accepted.all()
    assert (alignment.segments is None) == (options['min_similarity'] is None)


@pytest.mark.parametrize('least', [None, 0.55])
@pytest.mark.parametrize('reference', ANCHORS)
def test_two_frames_have_nothing_to_refine(reference, least):
    x = related_clip(batch=2, frames=2)
    plain, refined = (
        align_frames(
            x,
            ExactMatcher(),
            reference=reference,
            refine=times,
            min_similarity=least,
        )
        for times in (0, 1)
    )
    # Rejected patches may be exchanged: their similarities are equal.
    kept = plain.accepted
    assert torch.equal(refined.accepted, kept)
    assert torch.equal(refined.routes[kept], plain.routes[kept])


# LocalMatcher rejects what its window does not hold at any similarity.
@pytest.mark.parametrize('name', [n for n in ALL if n != 'local'])
def test_nothing_changes_where_nothing_is_rejected(name):
    x = related_clip(batch=2)
    for reference, refine in itertools.product(ANCHORS, (0, 1)):
        options = dict(grid=GRID, reference=reference, refine=refine)
        plain = align_frames(x, ALL[name], **options)
        least = align_frames(x, ALL[name], min_similarity=-1.0, **options)
        assert plain.segments is None
        assert least.accepted.all() and not least.segments.any()
        assert torch.equal(least.align(x), plain.align(x))


@pytest.mark.parametrize('least', [None, 0.3])
@pytest.mark.parametrize('reference', ANCHORS)
@pytest.mark.parametrize('name', HARD)
def test_support_is_that_of_unfolded_features(name, reference, least):
    x = related_clip(batch=2)
    unfolded = unfold_support(F.normalize(x, dim=-1), GRID, 1)
    options = dict(grid=GRID, reference=reference, min_similarity=least)
    supported = align_frames(x, ALL[name], support_radius=1, **options)
    expected = align_frames(unfolded, ALL[name], **options)
    # Rejected patches may be exchanged: their similarities are equal.
    kept = expected.segments == 0 if least is not None else expected.accepted
    assert torch.equal(supported.accepted & kept, kept)
    assert torch.equal(supported.routes[kept], expected.routes[kept])


@pytest.mark.parametrize('name', SOFT)
def test_support_of_soft_matchers_is_that_of_unfolded_features(name):
    x = related_clip(batch=2)
    unfolded = unfold_support(F.normalize(x, dim=-1), GRID, 1)
    supported, expected = (
        align_frames(
            features,
            ALL[name],
            GRID,
            min_similarity=0.3,
            support_radius=radius,
        )
        for features, radius in ((x, 1), (unfolded, 0))
    )
    torch.testing.assert_close(supported.align(x), expected.align(x))
    assert torch.equal(supported.accepted, expected.accepted)


@every
def test_all_options_work_together(name):
    x, order = related_clip(batch=2), torch.arange(12).expand(2, 5, 12)
    for options, refine in itertools.product(OPTIONS, (0, 1, 2)):
        alignment = align_frames(x, ALL[name], GRID, refine=refine, **options)
        assert alignment.shape == alignment.accepted.shape == (2, 5, 12)
        assert torch.equal(alignment.places[:, 0], order[:, 0])
        y = alignment.align(x)
        assert torch.equal(y[:, 0], x[:, 0]) and y.isfinite().all()
        if name in HARD:
            assert torch.equal(alignment.routes.sort(-1).values, order)
            assert torch.equal(alignment.dealign(y), x)


@pytest.mark.parametrize('refine', [0, 1])
@pytest.mark.parametrize('name', HARD)
def test_routes_from_frame_0_fall_back_to_the_previous_frame(name, refine):
    x, matcher = related_clip(batch=2), HARD[name]
    options = dict(min_similarity=0.55, support_radius=1)
    first, both = (
        align_frames(
            x, matcher, GRID, reference=reference, refine=refine, **options
        )
        for reference in ('first', 'first-or-previous')
    )
    neighbours = matcher.match_pairs(x[:, :-1], x[:, 1:], GRID, **options)
    expected = first.fall_back(*neighbours)
    assert torch.equal(both.routes, expected.routes)
    assert torch.equal(both.segments, expected.segments)
    assert first.accepted.sum() < both.accepted.sum() < both.accepted.numel()


def test_clips_fall_back_by_themselves():
    x = related_clip(batch=3)
    both, last = (
        align_frames(
            clips,
            ExactMatcher(),
            reference='first-or-previous',
            min_similarity=0.55,
        )
        for clips in (x, x[2:])
    )
    assert torch.equal(both.routes[2:], last.routes)
    assert torch.equal(both.segments[2:], last.segments)


@pytest.mark.parametrize('frames', [1, 2])
@pytest.mark.parametrize('name', HARD)
def test_short_clips_have_nothing_to_fall_back_to(name, frames):
    x = related_clip(batch=2, frames=frames)
    first, both = (
        align_frames(
            x, HARD[name], GRID, reference=reference, min_similarity=0.55
        )
        for reference in ('first', 'first-or-previous')
    )
    kept = first.accepted
    assert torch.equal(both.accepted, kept)
    assert torch.equal(both.routes[kept], first.routes[kept])


def test_content_that_enters_is_followed_by_falling_back():
    strip = torch.randn(3, 9, 16)
    x = torch.stack([strip[:, t : t + 4].flatten(0, 1) for t in range(6)])
    first, both = (
        align_frames(
            x[None], ExactMatcher(), reference=reference, min_similarity=0.9
        )
        for reference in ('first', 'first-or-previous')
    )
    # What is in the last column of frame 2 is in the first one of frame 5.
    for alignment, segments in ((first, {5}), (both, {2})):
        found = alignment.routes[0, 5] % 4 == 0
        assert set(alignment.segments[0, 5, found].tolist()) == segments
    entered = both.routes[0, 2] % 4 == 3
    columns = both.routes[0, 2:, entered] % 4
    assert torch.equal(columns, torch.arange(3, -1, -1)[:, None].expand(4, 3))


def test_falling_back_can_be_traced():

    class InPlace(Matcher):
        def match(self, similarity, grid=None):
            return identity(*similarity.shape[:-1])

        def can_compile(self, device, num_patches):
            return True

    def routes(x):
        return align_frames(
            x, InPlace(), reference='first-or-previous', min_similarity=0.55
        ).segments

    traced = torch.compile(routes, backend='eager', fullgraph=True)
    x = related_clip(batch=2)
    assert torch.equal(traced(x), routes(x))


@pytest.mark.parametrize('name', SOFT)
def test_soft_matchers_cannot_fall_back(name):
    with pytest.raises(ValueError, match='Expected a one-to-one matcher'):
        align_frames(
            related_clip(),
            ALL[name],
            GRID,
            reference='first-or-previous',
            min_similarity=0.4,
        )


def test_falling_back_needs_a_rejection():
    with pytest.raises(ValueError, match='min_similarity.*got None. Set it'):
        align_frames(related_clip(), reference='first-or-previous')


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('reference', ANCHORS)
@every
def test_half_precision_is_matched_in_fp32(name, reference, dtype):
    x = related_clip(batch=2).to(dtype)
    options = dict(EVERYTHING, grid=GRID, reference=reference)
    with torch.autocast('cpu', dtype):
        alignment = align_frames(x, ALL[name], **options)
        y = alignment.align(x)
    expected = align_frames(x.float(), ALL[name], **options)
    assert torch.equal(y, expected.align(x)) and y.dtype == dtype
    assert torch.equal(alignment.accepted, expected.accepted)


@pytest.mark.parametrize('reference', ANCHORS)
@pytest.mark.parametrize('name', SOFT)
def test_gradients_flow_through_all_options(name, reference):
    x = related_clip().requires_grad_()
    alignment = align_frames(
        x, ALL[name], GRID, **dict(EVERYTHING, reference=reference)
    )
    alignment.align(x.detach()).square().sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad.abs().sum((-1, -2))[0, 1:] > 0).all()


def test_routes_keep_the_order_on_the_meta_device():
    x = torch.empty(2, 3, 12, 5, device='meta')
    alignment = align_frames(x, grid=GRID, **EVERYTHING)
    assert alignment.align(x).shape == x.shape


@pytest.mark.parametrize(
    'option',
    [
        dict(reference='next'),
        dict(reference=0),
        dict(reference=True),
        dict(reference=2.0),
        dict(reference=None),
        dict(refine=-1),
        dict(refine=1.5),
        dict(refine=True),
        dict(min_similarity=1.0),
        dict(min_similarity=2),
        dict(min_similarity=-1.1),
        dict(min_similarity=float('nan')),
        dict(min_similarity=False),
        dict(support_radius=-1),
        dict(support_radius=0.5),
    ],
    ids=str,
)
def test_refuses_options_out_of_range(option):
    [(name, value)] = option.items()
    with pytest.raises(ValueError, match=f'Expected {name}.*got {value!r}'):
        align_frames(torch.randn(1, 2, 12, 4), grid=GRID, **option)


@every
def test_support_needs_the_grid(name):
    with pytest.raises(ValueError, match='which support_radius=1 needs'):
        align_frames(related_clip(), ALL[name], support_radius=1)


class FramesInPlace(Matcher):
    def match_frames(self, x, grid=None):
        return identity(len(x), x.shape[1] - 1, x.shape[2])


def test_match_frames_of_a_matcher_is_used():
    alignment = align_frames(related_clip(), FramesInPlace())
    assert torch.equal(alignment.routes[0, -1], torch.arange(12))


@pytest.mark.parametrize(
    'options',
    [
        dict(reference='first'),
        dict(refine=1),
        dict(min_similarity=0.4),
        dict(support_radius=1),
    ],
    ids=str,
)
def test_options_and_overridden_match_frames_are_refused(options):
    with pytest.raises(ValueError, match='instead of match_frames'):
        align_frames(related_clip(), FramesInPlace(), GRID, **options)
