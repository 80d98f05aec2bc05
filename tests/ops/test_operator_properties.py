# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Properties of the operators for any shape and any finite features."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ata_mm.ops import align_frames
from ata_mm.registry import MATCHERS

# Small, since each example is an assignment problem for each frame pair.
SHAPES = st.tuples(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)
)
MATCHER = st.sampled_from(
    ['ExactMatcher', 'CoarseToFineMatcher', 'LocalMatcher']
)
few = settings(max_examples=40, deadline=None)


@st.composite
def clips(draw):
    """Features (B, T, H*W, 3), their grid, and a matcher.

    Few values, for ties, and any norm from 1e-30 to 1e30.
    """
    batch, frames, *grid = draw(SHAPES)
    seed, kinds = draw(st.integers(0, 2**16)), draw(st.integers(1, 9))
    generator = torch.Generator().manual_seed(seed)
    size = (batch, frames, grid[0] * grid[1], 3)
    x = torch.randint(-kinds, kinds, size, generator=generator)
    scale = 10.0 ** draw(st.integers(-30, 29))
    name = draw(MATCHER)
    options = dict(radius=1) if name == 'LocalMatcher' else {}
    return x * scale, tuple(grid), MATCHERS.build(dict(options, type=name))


@few
@given(clips())
def test_routes_are_permutations(case):
    x, grid, matcher = case
    routes = align_frames(x, matcher, grid).routes
    assert routes.sort(-1).values.equal(
        torch.arange(x.shape[2]).expand_as(routes)
    )


@few
@given(clips())
def test_dealign_inverts_align(case):
    x, grid, matcher = case
    alignment = align_frames(x, matcher, grid)
    assert alignment.dealign(alignment.align(x)).equal(x)
    assert alignment.align(alignment.dealign(x)).equal(x)


@few
@given(clips())
def test_a_still_clip_stays_in_place(case):
    x, grid, matcher = case
    x = x[:, :1].expand_as(x)
    places = align_frames(x, matcher, grid).places
    assert places.equal(torch.arange(x.shape[2]).expand_as(places))


@few
@given(clips(), st.integers(-20, 20))
def test_routes_do_not_depend_on_the_scale(case, exponent):
    x, grid, matcher = case
    # A power of two, which does not round, within fp32.
    scaled = x / x.abs().amax().clamp_min(1e-38) * 2.0**exponent
    once, twice = (
        align_frames(y, matcher, grid).routes
        for y in (scaled, scaled * 2.0**60)
    )
    assert once.equal(twice)
