# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import logging

import pytest
import torch

from ata_mm.ops import (
    AutoMatcher,
    CoarseToFineMatcher,
    ExactMatcher,
    Matcher,
    Matching,
    neighbour_similarity,
)
from ata_mm.ops.matching import auto


@pytest.mark.parametrize('device, limit', [('cpu', 1024), ('cuda', 400)])
def test_exact_up_to_a_number_of_patches(device, limit):
    matcher, device = AutoMatcher(), torch.device(device)
    assert isinstance(matcher.choose(limit, device), ExactMatcher)
    assert isinstance(matcher.choose(limit + 1, device), CoarseToFineMatcher)


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_a_limit_holds_for_every_device(device):
    matcher, device = AutoMatcher(max_exact=700), torch.device(device)
    assert isinstance(matcher.choose(700, device), ExactMatcher)
    assert isinstance(matcher.choose(701, device), CoarseToFineMatcher)


@pytest.mark.parametrize(
    'max_exact, matcher', [(324, ExactMatcher()), (323, CoarseToFineMatcher())]
)
def test_matches_as_the_chosen_matcher(max_exact, matcher):
    x, grid = torch.randn(1, 3, 324, 6), (18, 18)
    similarity, chosen = neighbour_similarity(x), AutoMatcher(max_exact)
    assert torch.equal(chosen(similarity, grid), matcher(similarity, grid))
    assert torch.equal(
        chosen.match_frames(x, grid), matcher.match_frames(x, grid)
    )


@pytest.mark.parametrize('num', [16, 1056])
def test_hands_the_pairs_and_options_to_the_chosen_matcher(num, monkeypatch):
    calls = []

    class Noting(Matcher):
        def match_pairs(self, *arguments):
            calls.append(arguments)
            return Matching(torch.zeros(1, 1, num))

    def choose(self, num_patches, device):
        assert (num_patches, device.type) == (num, 'cpu')
        return Noting()

    monkeypatch.setattr(AutoMatcher, 'choose', choose)
    source, target = torch.randn(2, 1, 1, num, 4)
    arguments = source, target, (4, num // 4), 0.2, 1
    found = AutoMatcher().match_pairs(*arguments)
    assert calls == [arguments] and found.matching.shape == (1, 1, num)


def test_logs_each_choice_once(caplog):
    auto._log_once.cache_clear()
    with caplog.at_level(logging.INFO, 'ata_mm'):
        for num in (9, 9, 1056):
            AutoMatcher().choose(num, torch.device('cpu'))
    assert [record.getMessage() for record in caplog.records] == [
        '9 patches a frame on cpu are matched by ExactMatcher, lapx.',
        '1056 patches a frame on cpu are matched by CoarseToFineMatcher.',
    ]


@pytest.mark.parametrize('num', [9, 1025])
def test_can_be_traced(num):
    assert AutoMatcher().can_compile(torch.device('cpu'), num)


def test_more_patches_may_be_matched_exactly():
    chosen = AutoMatcher(max_exact=5000).choose(4500, torch.device('cpu'))
    assert isinstance(chosen, ExactMatcher) and chosen.max_patches >= 4500
