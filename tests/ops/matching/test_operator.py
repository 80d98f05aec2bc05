# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.ops import (
    CoarseToFineMatcher,
    ExactMatcher,
    LocalMatcher,
    align_frames,
)
from ata_mm.ops.matching import auto, local

GRID = (4, 6)
MATCHERS = [
    ExactMatcher(),
    ExactMatcher('scipy'),
    LocalMatcher(2),
    CoarseToFineMatcher(group_size=8, max_exact=10),
]


def moving_features():
    """Features (2, 3, N, 16) of which half follows from the frame before."""
    x = torch.randn(2, 3, 24, 16)
    x[:, 1:] += x[:, :-1].roll(1, dims=2)
    return x


@pytest.mark.parametrize('options', [dict(min_similarity=0.4)], ids=str)
@pytest.mark.parametrize('sparse', [False, True])
@pytest.mark.parametrize('matcher', MATCHERS, ids=repr)
def test_one_to_one_matchers_are_one_graph(
    matcher, sparse, options, monkeypatch
):
    if sparse:
        monkeypatch.setattr(local, '_MAX_DENSE', 10)

    def step(x):
        alignment = align_frames(x, matcher, GRID, **options)
        return alignment.dealign(alignment.align(x).cumsum(1))

    assert_compiles(step)


def test_large_maps_are_one_graph_by_default(monkeypatch):
    monkeypatch.setattr(auto, '_MAX_EXACT_CPU', 10)

    def step(x):
        alignment = align_frames(x, grid=GRID)
        return alignment.dealign(alignment.align(x).cumsum(1))

    assert_compiles(step)


def test_a_compiled_matcher_has_its_present_options():
    matcher = CoarseToFineMatcher(group_size=4, max_exact=8)
    x = torch.randn(1, 2, 24, 4)

    def routes(x):
        return align_frames(x, matcher, GRID).routes

    before = routes(x)
    matcher.sweeps = 0
    compiled = torch.compile(routes, fullgraph=True, backend='eager')
    assert torch.equal(compiled(x), routes(x))
    assert not torch.equal(compiled(x), before)


def assert_compiles(step):
    """Assert that a function is one graph, with the same gradients."""
    compiled = torch.compile(step, fullgraph=True, backend='aot_eager')
    features = moving_features()
    gradients = []
    for function in (step, compiled):
        x = features.clone().requires_grad_()
        function(x).square().sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)


def test_the_operator_is_declared_correctly():
    source, target = torch.rand(2, 2, 3, 12, 4)
    text = '{"type": "CoarseToFineMatcher", "group_size": 4, "max_exact": 8}'
    arguments = source, target, text, [3, 4], 0.5, 0
    torch.library.opcheck(torch.ops.ata_mm.match_pairs.default, arguments)


@pytest.mark.parametrize('kind', [CoarseToFineMatcher, LocalMatcher])
def test_subclasses_are_not_traced(kind):
    subclass = type('Subclass', (kind,), {})
    assert kind().can_compile(torch.device('cpu'), 1600)
    assert not subclass().can_compile(torch.device('cpu'), 1600)
