# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmengine.registry import Registry

from ata_mm.ops import (
    AutoMatcher,
    CoarseToFineMatcher,
    DisplacementMatcher,
    ExactMatcher,
    LocalMatcher,
    SinkhornMatcher,
    align_frames,
)
from ata_mm.ops.matching import CallableMatcher
from ata_mm.registry import MATCHERS, build_matcher


@pytest.fixture
def registry():
    """Return an empty registry that builds as MATCHERS does."""
    return Registry('matcher', build_func=build_matcher, scope='test')


@pytest.mark.parametrize(
    'matcher',
    [
        AutoMatcher,
        CoarseToFineMatcher,
        DisplacementMatcher,
        ExactMatcher,
        LocalMatcher,
        SinkhornMatcher,
    ],
)
def test_matchers_are_registered_under_their_names(matcher):
    assert MATCHERS.get(matcher.__name__) is matcher


@pytest.mark.parametrize(
    'cfg, matcher',
    [
        ('ExactMatcher', ExactMatcher()),
        ('auto', AutoMatcher()),
        (dict(type='AutoMatcher', max_exact=9), AutoMatcher(9)),
        (dict(type='LocalMatcher', radius=2), LocalMatcher(2)),
        (dict(type='ExactMatcher', _scope_='ata_mm'), ExactMatcher()),
        ('ata_mm.ExactMatcher', ExactMatcher()),
    ],
)
def test_a_matcher_is_built_by_name(cfg, matcher):
    assert MATCHERS.build(cfg).key() == matcher.key()
    assert MATCHERS.build(matcher) is matcher


def test_a_config_is_unchanged():
    cfg = dict(type='LocalMatcher', radius=2)
    MATCHERS.build(cfg)
    assert cfg == dict(type='LocalMatcher', radius=2)


@pytest.mark.parametrize(
    'cfg', ['Hungarian', dict(type='Hungarian'), dict(radius=2), {}, None]
)
def test_an_unknown_name_is_answered_with_the_known_ones(cfg):
    with pytest.raises(ValueError, match="one of .*'ExactMatcher'.*got"):
        MATCHERS.build(cfg)


def test_a_misspelt_option_is_an_error():
    with pytest.raises(TypeError, match='raduis'):
        MATCHERS.build(dict(type='LocalMatcher', raduis=2))


def test_a_registered_matcher_is_built_as_it_is(registry):

    @registry.register_module()
    class Wide(LocalMatcher):
        """Matcher of a user."""

    assert type(registry.build(dict(type='Wide', radius=5))) is Wide


def test_a_registered_callable_is_wrapped(registry):

    @registry.register_module()
    class InPlace:
        def __call__(self, similarity):
            num = similarity.shape[-1]
            return torch.arange(num).expand(similarity.shape[:-1])

    matcher = registry.build('InPlace')
    assert isinstance(matcher, CallableMatcher)
    routes = align_frames(torch.randn(1, 3, 4, 5), matcher).routes
    assert torch.equal(routes, torch.arange(4).expand(1, 3, 4))


def test_a_class_is_built_as_its_name_is():
    built = MATCHERS.build(dict(type=LocalMatcher, radius=2))
    assert built.key() == LocalMatcher(2).key()


def test_a_function_is_wrapped_and_a_class_alone_is_refused():
    assert isinstance(MATCHERS.build(lambda s: s), CallableMatcher)
    with pytest.raises(ValueError, match='such as ExactMatcher()'):
        MATCHERS.build(ExactMatcher)
