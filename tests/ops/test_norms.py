# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.ops import Alignment, align_frames
from ata_mm.ops.matching.similarity import neighbour_similarity
from ata_mm.ops.norms import normalize, rescale
from ata_mm.registry import MATCHERS

GRID = (6, 6)
ALL = [
    'ExactMatcher',
    'CoarseToFineMatcher',
    'LocalMatcher',
    'SinkhornMatcher',
    'DisplacementMatcher',
]
HARD = ALL[:3]


def align(x, name, min_similarity=None):
    options = dict(radius=3) if name == 'LocalMatcher' else {}
    return align_frames(
        x,
        MATCHERS.build(dict(options, type=name)),
        GRID,
        min_similarity=min_similarity,
    )


def clip():
    return torch.randn(1, 3, 36, 16)


@pytest.mark.parametrize('scale', [1e-30, 1e-14, 1e-6, 1e14, 1e20, 1e30])
@pytest.mark.parametrize('name', ALL)
def test_matches_do_not_depend_on_the_norm(name, scale):
    x = clip()
    assert align(x * scale, name).places.equal(align(x, name).places)


def test_similarities_of_patches_with_different_norms():
    x = clip()
    scale = 10.0 ** torch.linspace(-30, 30, 36)[:, None]
    torch.testing.assert_close(
        neighbour_similarity(x * scale), neighbour_similarity(x)
    )


def test_powers_of_two_do_not_round():
    x = clip()
    assert neighbour_similarity(x * 2.0**90).equal(neighbour_similarity(x))


def test_usual_norms_are_not_scaled():
    x = clip()
    assert rescale(x)[0] is x


@pytest.mark.parametrize('number', [float('nan'), float('inf')])
def test_what_is_not_finite_is_still_refused(number):
    x = clip()
    x[0, 1, 2, 3] = number
    with pytest.raises(ValueError, match='Expected finite'):
        align(x, 'ExactMatcher')


def test_similarity_along_routes_has_no_norm():
    x = clip()
    alignment = Alignment(torch.arange(36).expand(1, 3, 36))
    torch.testing.assert_close(
        alignment.similarity(x * 1e30), alignment.similarity(x)
    )


def test_zeros_remain_zeros():
    assert normalize(torch.zeros(2, 4)).equal(torch.zeros(2, 4))


@pytest.mark.parametrize('scale', [1e-9, 1e-20, 1e20])
def test_normalized_features_have_norm_one(scale):
    norm = normalize(clip() * scale).norm(dim=-1)
    torch.testing.assert_close(norm, torch.ones(1, 3, 36))


def test_denormal_features_can_be_normalized():
    found = normalize(torch.full((2, 4), 1e-42))
    torch.testing.assert_close(found, torch.full((2, 4), 0.5))


def test_gradients_pass():
    x = (clip() * 1e20).requires_grad_()
    normalize(x)[..., 0].sum().backward()
    assert x.grad.isfinite().all() and x.grad.any()


def static(equal):
    """A still clip whose first 12 patches are the same."""
    x = clip()[:, :1].repeat(1, 3, 1, 1)
    x[:, :, :12] = equal
    return x


@pytest.mark.parametrize(
    'make',
    [
        lambda: torch.zeros(1, 3, 36, 16),
        lambda: torch.full((1, 3, 36, 16), 0.1),
        lambda: static(torch.zeros(16)),
        lambda: static(torch.randn(16)),
    ],
    ids=['zeros', 'equal', 'some zeros', 'some equal'],
)
@pytest.mark.parametrize('min_similarity', [None, 0.4])
@pytest.mark.parametrize('name', HARD)
def test_equal_patches_stay_in_place(name, min_similarity, make):
    places = align(make(), name, min_similarity).places
    assert places.equal(torch.arange(36).expand_as(places))


@pytest.mark.parametrize('name', ['SinkhornMatcher', 'DisplacementMatcher'])
def test_a_patch_of_zeros_has_no_gradient(name):
    """The similarity to it is 0 whatever it is compared with."""
    x = clip()
    x[0, 1, 5] = 0
    x.requires_grad_()
    align(x, name).align(x.detach()).square().sum().backward()
    assert not x.grad[0, 1, 5].any()
    assert 0 < x.grad.abs().max() < 1e6
