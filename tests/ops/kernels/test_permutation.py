# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""On a GPU if there is one, else by triton's interpreter, see conftest."""

import pytest
import torch

from ata_mm.ops.kernels import (
    chain_matching,
    invert_permutation,
    take_patches,
)
from ata_mm.ops.permutation import chain, identity, invert, permute

pytest.importorskip('triton')
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


def random_permutations(*shape):
    return torch.rand(shape).argsort(-1)


def taken(x, index):
    return take_patches(x.to(DEVICE), index.to(DEVICE)).cpu()


def chained(matching, follow=True):
    found = chain_matching(matching.to(DEVICE), follow)
    return [part.cpu() for part in found]


@pytest.mark.parametrize('shape', [(1,), (3, 17), (2, 3, 64), (0, 4)])
def test_inverts_as_torch_does(shape):
    order = random_permutations(*shape)
    assert torch.equal(
        invert_permutation(order.to(DEVICE)).cpu(), invert(order)
    )


@pytest.mark.parametrize('pairs', [0, 1, 2, 7])
@pytest.mark.parametrize('num', [1, 5, 33])
def test_chains_and_inverts_as_torch_does(pairs, num):
    matching = random_permutations(2, pairs, num)
    routes, inverse = chained(matching)
    assert torch.equal(routes, chain(matching))
    assert torch.equal(inverse, invert(routes))


def test_chains_matchings_from_frame_0_as_torch_does():
    matching = random_permutations(2, 3, 9)
    routes, inverse = chained(matching, follow=False)
    assert torch.equal(routes, chain(matching, (0, 0, 0)))
    assert torch.equal(inverse, invert(routes))


def test_chains_a_view():
    matching = random_permutations(2, 9, 3).transpose(1, 2).argsort(-1)
    assert torch.equal(chained(matching)[0], chain(matching))


@pytest.mark.parametrize(
    'dtype', [torch.float32, torch.bfloat16, torch.float16, torch.int64]
)
@pytest.mark.parametrize('channels', [1, 24, 300])
def test_takes_patches_to_the_bit(dtype, channels):
    x = (100 * torch.randn(2, 3, 9, channels)).to(dtype)
    order = random_permutations(2, 3, 9)
    assert torch.equal(taken(x, order), permute(x, order, invert(order)))


@pytest.mark.parametrize(
    'view',
    [
        lambda x: x[:, 1:, 1:, 2:],
        lambda x: x[..., ::2],
        lambda x: x.transpose(1, 2),
        lambda x: x.transpose(2, 3),
        lambda x: x[:, :1].expand(-1, 4, -1, -1),
    ],
)
def test_takes_patches_of_a_view(view):
    x = view(torch.randn(2, 5, 6, 8))
    order = random_permutations(*x.shape[:3])
    y = taken(x, order)
    assert y.is_contiguous()
    assert torch.equal(y, permute(x, order, invert(order)))


@pytest.mark.parametrize('bad', [[-1, 0, 2**40], [1, 1, 1]])
def test_routes_stay_in_the_frame_whatever_the_matcher_returns(bad):
    routes, inverse = chained(torch.tensor([[bad, [2, 0, 1]]]))
    assert routes.min() >= 0 and routes.max() < 3
    assert (inverse[0, 0] == identity(3)).all()
    for row, route in zip(inverse[0], routes[0]):
        found = [i for i in row.tolist() if i >= 0]
        assert len(found) == len(set(route.tolist()))


@pytest.mark.parametrize('bad', [[-1, 0, 2**40], [1, 1, 1], [5, 4, 3]])
def test_a_missing_index_has_the_inverse_minus_1(bad):
    inverse = invert_permutation(torch.tensor(bad, device=DEVICE)).tolist()
    for place in range(3):
        assert (inverse[place] == -1) == (place not in bad)


@pytest.mark.parametrize(
    'dtype', [torch.float32, torch.bfloat16, torch.float16]
)
def test_patches_of_missing_indices_are_nan(dtype):
    x = torch.ones(1, 1, 3, 4).to(dtype)
    y = taken(x, torch.tensor([[[2**40, 1, -1]]]))
    assert y[0, 0].isnan().all(-1).tolist() == [True, False, True]


def test_integers_of_missing_indices_are_zero():
    x = torch.ones(1, 1, 3, 4, dtype=torch.int64)
    y = taken(x, torch.tensor([[[3, 1, -1]]]))
    assert y[0, 0, :, 0].tolist() == [0, 1, 0]
