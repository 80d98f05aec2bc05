# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F
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


def test_similarity_is_the_cosine_of_patches_of_neighbouring_frames():
    x = torch.randn(2, 4, 5, 8)
    similarity = neighbour_similarity(x)
    expected = F.cosine_similarity(x[1, 2, 3], x[1, 3, 4], dim=0)
    assert similarity.shape == (2, 3, 5, 5)
    torch.testing.assert_close(similarity[1, 2, 3, 4], expected)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_similarity_is_computed_in_fp32_under_autocast(dtype):
    x = torch.randn(1, 2, 16, 32).to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        similarity = neighbour_similarity(x)
    assert similarity.dtype == torch.float32
    torch.testing.assert_close(similarity, neighbour_similarity(x.float()))


def test_similarity_is_outside_autograd():
    x = torch.randn(1, 2, 4, 8, requires_grad=True)
    assert not neighbour_similarity(x).requires_grad


def test_similarity_to_zeros_is_zero():
    x = torch.randn(1, 2, 4, 8)
    x[0, 0, 1] = 0
    similarity = neighbour_similarity(x)
    assert similarity.isfinite().all()
    assert not similarity[0, 0, 1].any()


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
