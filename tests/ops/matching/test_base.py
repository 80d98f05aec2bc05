# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from torch import nn

from ata_mm.ops import (
    Alignment,
    ExactMatcher,
    LocalMatcher,
    Matcher,
    SoftAlignment,
    align_frames,
    neighbour_similarity,
)
from ata_mm.ops.matching import CallableMatcher, as_matcher, base
from ata_mm.ops.matching.similarity import (
    aggregate,
    favour_place,
    pair_similarity,
)

ORDERS = [[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3]]  # routes of a reversal


def reverse(similarity):
    num = similarity.shape[-1]
    return torch.arange(num - 1, -1, -1).expand(similarity.shape[:-1])


class Reverse(Matcher):
    """Matcher that implements `match` only."""

    def match(self, similarity, grid=None):
        return reverse(similarity)


class ReverseFrames(Matcher):
    """Matcher that implements `match_frames` only."""

    def match_frames(self, x, grid=None):
        return torch.arange(x.shape[2] - 1, -1, -1).expand(
            x.shape[0], x.shape[1] - 1, -1
        )


class Counting(ExactMatcher):
    """Matcher that notes the shapes of its problems."""

    def __init__(self):
        super().__init__()
        self._shapes = []

    def __call__(self, similarity, grid=None):
        self._shapes.append(tuple(similarity.shape))
        return super().__call__(similarity, grid)


@pytest.mark.parametrize('matcher', [Reverse(), ReverseFrames(), reverse])
def test_one_method_makes_a_matcher(matcher):
    x = torch.randn(2, 3, 4, 5)
    alignment = align_frames(x, matcher)
    assert type(alignment) is Alignment
    assert alignment.routes.tolist() == [ORDERS, ORDERS]
    assert align_frames(x[:, :1], matcher).routes.tolist() == [ORDERS[:1]] * 2


def test_a_matcher_without_a_method_names_the_missing_one():
    with pytest.raises(NotImplementedError, match=r'Matcher .*match\(\)'):
        align_frames(torch.randn(1, 2, 4, 5), Matcher())


def test_match_frames_is_given_the_features_and_the_grid():
    calls = []

    class Noting(ReverseFrames):
        def match_frames(self, x, grid=None):
            calls.append((x, grid))
            return super().match_frames(x, grid)

    x = torch.randn(2, 3, 4, 5)
    align_frames(x, Noting(), (2, 2))
    [(features, grid)] = calls
    assert features is x and grid == (2, 2)


def test_match_is_given_the_grid():
    grids = []

    class Noting(Reverse):
        def match(self, similarity, grid=None):
            grids.append(grid)
            return super().match(similarity, grid)

    align_frames(torch.randn(2, 3, 4, 5), Noting(), (2, 2))
    assert grids == [(2, 2)]


def test_plans_are_followed_as_plans():

    def uniform(similarity):
        return torch.full_like(similarity, 1 / similarity.shape[-1])

    alignment = align_frames(torch.randn(1, 3, 4, 5), uniform)
    assert isinstance(alignment, SoftAlignment)
    assert alignment.plans.shape == (1, 3, 4, 4)


def test_follow_may_return_an_alignment_of_another_kind():

    class Still(Reverse):
        def follow(self, matching, grid):
            assert matching.tolist() == [[[3, 2, 1, 0]] * 2]
            return Alignment(torch.arange(4).expand(1, 3, 4))

    routes = align_frames(torch.randn(1, 3, 4, 5), Still()).routes
    assert routes.tolist() == [[[0, 1, 2, 3]] * 3]


@pytest.mark.parametrize('source', [slice(0, 1), slice(0, -1)])
def test_pairs_are_matched_by_their_similarities(source):
    x = torch.randn(2, 4, 9, 16)
    similarity = pair_similarity(x[:, source], x[:, 1:])
    matching, accepted = ExactMatcher().match_pairs(x[:, source], x[:, 1:])
    assert torch.equal(matching, ExactMatcher()(similarity))
    assert accepted is None


@pytest.mark.parametrize('radius', [0, 1])
def test_matches_above_the_least_similarity_are_accepted(radius):
    x, grid = torch.randn(2, 4, 12, 16), (3, 4)
    matching, accepted = ExactMatcher().match_pairs(
        x[:, :-1], x[:, 1:], grid, 0.2, radius
    )
    similarity = aggregate(neighbour_similarity(x), grid, radius)
    matched = similarity.gather(-1, matching[..., None]).squeeze(-1)
    assert torch.equal(accepted, matched > 0.2)
    assert 0 < accepted.sum() < accepted.numel()


def test_a_match_at_the_least_similarity_is_rejected():
    patches = torch.eye(5)[None, None]  # similar by 0 to each other
    source, target = patches[:, :, :4], patches[:, :, [0, 1, 2, 4]]
    _, accepted = ExactMatcher().match_pairs(source, target, None, 0.0)
    assert accepted.tolist() == [[[True, True, True, False]]]


def test_matches_prefer_similarities_above_the_least():
    """Of 0.8, 0.5, 0.5 and -0.2, the first and last have a smaller sum."""
    source = torch.eye(4)[:2]
    target = torch.tensor(
        [[0.8, 0.5, 0.11**0.5, 0], [0.5, -0.2, 0, 0.71**0.5]]
    )
    pair = source[None, None], target[None, None]
    assert ExactMatcher().match_pairs(*pair).matching.tolist() == [[[1, 0]]]
    matching, accepted = ExactMatcher().match_pairs(*pair, None, 0.4)
    assert matching.tolist() == [[[0, 1]]]
    assert accepted.tolist() == [[[True, False]]]


def test_weights_above_the_least_similarity_accept_a_plan():
    x = torch.randn(2, 4, 9, 16)
    plans, accepted = as_matcher(lambda s: (10 * s).softmax(-1)).match_pairs(
        x[:, :-1], x[:, 1:], None, 0.3
    )
    similarity = neighbour_similarity(x)
    raised = favour_place(similarity.clamp_min(0.3))
    assert torch.equal(plans, (10 * raised).softmax(-1))
    share = torch.where(similarity > 0.3, plans, 0.0).sum(-1)
    assert torch.equal(accepted, share > 0.5)
    assert 0 < accepted.sum() < accepted.numel()


@pytest.mark.parametrize('least', [None, 0.2])
def test_no_pairs_have_no_matches(least):
    x = torch.randn(2, 1, 9, 4)
    matching, accepted = ExactMatcher().match_pairs(x, x[:, 1:], None, least)
    assert matching.shape == (2, 0, 9) and matching.dtype == torch.int64
    if least is None:
        assert accepted is None
    else:
        assert accepted.shape == (2, 0, 9) and accepted.dtype == torch.bool


@pytest.mark.parametrize('grid', [None, (3, 4)])
def test_support_needs_the_grid(grid):
    x = torch.randn(1, 2, 9, 4)
    with pytest.raises(ValueError, match='N = 9 patches'):
        ExactMatcher().match_pairs(x[:, :1], x[:, 1:], grid, None, 1)


@pytest.mark.parametrize('source', [slice(0, 1), slice(0, -1)])
def test_pairs_are_matched_a_few_at_a_time(source, monkeypatch):
    x, counting = torch.randn(2, 6, 9, 4), Counting()
    options = dict(grid=(3, 3), min_similarity=0.2, support_radius=1)
    at_once = ExactMatcher().match_pairs(x[:, source], x[:, 1:], **options)
    monkeypatch.setattr(base, '_MAX_SIMILARITIES', 2 * 9 * 9 * 2)
    found = counting.match_pairs(x[:, source], x[:, 1:], **options)
    assert torch.equal(found.matching, at_once.matching)
    assert torch.equal(found.accepted, at_once.accepted)
    assert counting._shapes == [(2, n, 9, 9) for n in (2, 2, 1)]


def test_large_maps_are_matched_a_few_pairs_at_a_time(monkeypatch):
    x = torch.randn(2, 6, 9, 4)
    at_once, counting = align_frames(x).routes, Counting()
    monkeypatch.setattr(base, '_MAX_SIMILARITIES', 2 * 9 * 9 * 2)
    assert torch.equal(align_frames(x, counting).routes, at_once)
    assert counting._shapes == [(2, n, 9, 9) for n in (2, 2, 1)]


@pytest.mark.parametrize(
    'match',
    [
        lambda s: s.long(),  # (B, T-1, N, N) integers
        lambda s: s[..., 0],  # (B, T-1, N) floating point
        lambda s: reverse(s).int(),
        lambda s: reverse(s)[:, :1].contiguous(),
        lambda s: s[..., :-1],
    ],
)
def test_refuses_what_is_neither_a_permutation_nor_a_plan(match):
    expected = 'Expected (int64 permutations|matchings of features).*from Call'
    with pytest.raises(ValueError, match=expected):
        align_frames(torch.randn(1, 3, 4, 2), match)


def test_a_plain_function_is_wrapped_and_a_matcher_is_not():
    matcher = Reverse()
    assert as_matcher(matcher) is matcher
    assert as_matcher(reverse).key() == CallableMatcher(reverse).key()


def test_nothing_is_traced_by_default():
    assert not Matcher().can_compile(torch.device('cuda'), 4)


def test_options_are_the_public_attributes():
    assert LocalMatcher(2).options() == dict(radius=2)
    assert repr(LocalMatcher(2)) == 'LocalMatcher(radius=2)'


def test_key_has_the_type_and_the_options():
    assert LocalMatcher(2).key() == LocalMatcher(2).key()
    assert LocalMatcher(2).key() != LocalMatcher(3).key()
    assert Counting().key() != ExactMatcher().key()


def test_parameters_of_equal_matchers_are_all_found():

    class Learned(nn.Module, Matcher):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

    modules = nn.ModuleList([Learned(), Learned()])
    assert len(list(modules.parameters())) == 2


def test_a_module_that_is_no_matcher_is_refused():
    with pytest.raises(ValueError, match=r'Derive a module from ata_mm.ops'):
        as_matcher(nn.Identity())


def test_an_alignment_of_another_shape_is_refused():

    class Short(Reverse):
        def match_frames(self, x, grid=None):
            return super().match_frames(x, grid)[:, 1:]

    with pytest.raises(ValueError, match=r'alignment of \(1, 2, 4\)'):
        align_frames(torch.randn(1, 3, 4, 2), Short())


@pytest.mark.parametrize(
    'match',
    [
        lambda s: torch.arange(4),
        lambda s: reverse(s).tolist(),
        lambda s: reverse(s).to('meta'),
    ],
)
def test_what_a_function_returns_is_checked_at_once(match):
    expected = r'permutations of shape \(1, 2, 4\).* on cpu from Call.*, got'
    with pytest.raises(ValueError, match=expected):
        align_frames(torch.randn(1, 3, 4, 2), match)


class ReverseTensor(Reverse):
    """A matcher whose match_pairs returns what match_frames would."""

    def match_pairs(self, source, target, *options):
        """Match the patches of frame pairs in reverse order."""
        return super().match_pairs(source, target, *options).matching


@pytest.mark.parametrize('options', [{}, dict(refine=1)], ids=str)
def test_match_pairs_returns_a_matching(options):
    x = torch.rand(1, 3, 4, 5)
    reference = dict(reference='first', **options)
    with pytest.raises(ValueError, match='Expected a Matching from match_pai'):
        align_frames(x, ReverseTensor(), (2, 2), **reference)
