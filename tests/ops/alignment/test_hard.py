# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F

from ata_mm.ops import Alignment


def random_routes(batch=2, frames=3, num=6):
    return torch.rand(batch, frames, num).argsort(-1)


def test_align_orders_patches_by_route():
    routes, x = random_routes(), torch.randn(2, 3, 6, 4)
    y = Alignment(routes).align(x)
    for b, t, i in [(0, 0, 0), (0, 2, 5), (1, 1, 3)]:
        assert torch.equal(y[b, t, i], x[b, t, routes[b, t, i]])


@pytest.mark.parametrize(
    'dtype', [torch.float32, torch.bfloat16, torch.float16]
)
def test_round_trip_is_exact_to_the_bit(dtype):
    x = torch.randn(2, 8, 49, 32).to(dtype)
    alignment = Alignment(random_routes(2, 8, 49))
    assert torch.equal(alignment.dealign(alignment.align(x)), x)
    assert torch.equal(alignment.align(alignment.dealign(x)), x)


def test_indices_are_aligned_as_features_are():
    routes = random_routes()
    index = torch.arange(6).expand(2, 3, 6)[..., None]
    assert torch.equal(Alignment(routes).align(index)[..., 0], routes)


def test_gradient_of_align_is_dealign():
    alignment = Alignment(random_routes())
    x = torch.randn(2, 3, 6, 4, requires_grad=True)
    gradient = torch.randn(2, 3, 6, 4)
    alignment.align(x).backward(gradient)
    assert torch.equal(x.grad, alignment.dealign(gradient))


def test_matchings_compose_along_the_clip():
    matching = torch.tensor([[[1, 2, 0], [0, 2, 1]]])
    routes = Alignment.from_matching(matching).routes
    assert routes.tolist() == [[[0, 1, 2], [1, 2, 0], [2, 1, 0]]]


def test_similarity_is_the_cosine_of_each_step():
    routes, x = random_routes(), torch.randn(2, 3, 6, 8)
    steps = Alignment(routes).similarity(x)
    expected = F.cosine_similarity(
        x[1, 1, routes[1, 1, 4]], x[1, 2, routes[1, 2, 4]], dim=0
    )
    assert steps.shape == (2, 2, 6)
    torch.testing.assert_close(steps[1, 1, 4], expected)


def test_similarity_is_computed_in_fp32_and_outside_autograd():
    x = torch.randn(2, 3, 6, 8).bfloat16().requires_grad_()
    alignment = Alignment(random_routes())
    steps = alignment.similarity(x)
    assert steps.dtype == torch.float32 and not steps.requires_grad
    assert torch.equal(steps, alignment.similarity(x.float()))


def test_displacement_is_in_patches():
    routes = torch.tensor([[[0, 1, 2, 3, 4, 5], [5, 1, 0, 3, 4, 2]]])
    steps = Alignment(routes).displacement((2, 3))  # rows of 3 patches
    expected = torch.tensor([5**0.5, 0, 2, 0, 0, 1])
    torch.testing.assert_close(steps, expected[None, None])


def test_displacement_refuses_another_grid():
    with pytest.raises(ValueError, match=r'N = 6 patches, got grid=\(2, 2\)'):
        Alignment(random_routes()).displacement((2, 2))


@pytest.mark.parametrize('verb', ['align', 'dealign'])
@pytest.mark.parametrize('shape', [(1, 2, 4, 8), (1, 3, 5, 8), (3, 4, 8)])
def test_refuses_features_of_another_clip(verb, shape):
    alignment = Alignment(torch.arange(4).expand(1, 3, 4))
    with pytest.raises(ValueError, match=r'\(1, 3, 4\), got \(\d, '):
        getattr(alignment, verb)(torch.randn(shape))


@pytest.mark.parametrize(
    'routes', [torch.arange(4), torch.arange(4.0).expand(1, 3, 4)]
)
def test_refuses_routes_of_another_shape_or_dtype(routes):
    with pytest.raises(ValueError, match=r'int64 routes of shape \(B, T, N\)'):
        Alignment(routes)


def test_refuses_routes_that_meet_in_a_patch():
    with pytest.raises(ValueError, match='repeated'):
        Alignment(torch.tensor([[[0, 1, 2], [0, 1, 1]]]))


def test_repr_names_the_shape():
    assert repr(Alignment(random_routes())) == 'Alignment(B=2, T=3, N=6)'
