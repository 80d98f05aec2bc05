# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import logging

import pytest
import torch

from ata_mm.ops import (
    AutoMatcher,
    CoarseToFineMatcher,
    ExactMatcher,
    align_frames,
)
from ata_mm.ops.matching import auto
from ata_mm.registry import MATCHERS


@pytest.mark.parametrize('num, matcher', [(1024, ExactMatcher),
                                          (1025, CoarseToFineMatcher)])
def test_exact_where_that_is_quick(num, matcher):
    chosen = AutoMatcher().choose(num, torch.device('cpu'))
    assert isinstance(chosen, matcher)


@pytest.mark.parametrize('max_exact, matcher', [(9, ExactMatcher()),
                                                (8, CoarseToFineMatcher())])
def test_matches_as_the_one_it_chooses(max_exact, matcher):
    x = torch.randn(2, 4, 9, 6)
    routes = align_frames(x, AutoMatcher(max_exact), (3, 3)).routes
    assert torch.equal(routes, align_frames(x, matcher, (3, 3)).routes)


def test_is_the_default():
    x = torch.randn(2, 4, 9, 6)
    routes = align_frames(x, AutoMatcher()).routes
    assert torch.equal(align_frames(x).routes, routes)
    assert torch.equal(align_frames(x, 'auto').routes, routes)


def test_says_once_what_it_has_chosen(caplog):
    auto._log_choice.cache_clear()
    with caplog.at_level(logging.INFO, 'ata_mm'):
        for num in (9, 9, 1056):
            AutoMatcher().choose(num, torch.device('cpu'))
    assert [record.getMessage() for record in caplog.records] == [
        '9 patches a frame on cpu are matched by ExactMatcher, lapx.',
        '1056 patches a frame on cpu are matched by CoarseToFineMatcher.',
    ]


@pytest.mark.parametrize(
    'cfg', ['auto', 'AutoMatcher',
            dict(type='AutoMatcher', max_exact=1024)])
def test_is_built_by_name(cfg):
    assert isinstance(MATCHERS.build(cfg), AutoMatcher)


@pytest.mark.parametrize('matcher', [None, 'SinkhornMatcher'])
def test_align_frames_refuses_what_is_no_matcher(matcher):
    with pytest.raises(ValueError, match="matcher='auto'"):
        align_frames(torch.randn(1, 2, 4, 3), matcher)
