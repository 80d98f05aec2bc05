# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.ops.permutation import (
    chain,
    chain_and_invert,
    complete,
    compose,
    identity,
    invert,
    permute,
)


def random_permutations(*lead, num=12):
    return torch.rand(*lead, num).argsort(-1)


def test_inverse_undoes_a_permutation():
    p = random_permutations(3, 4)
    assert torch.equal(compose(invert(p), p), identity(*p.shape))


def test_compose_applies_the_first_argument_last():
    first, second = torch.tensor([[1, 2, 0], [2, 1, 0]])
    assert compose(second, first).tolist() == [1, 0, 2]


@pytest.mark.parametrize('pairs', [0, 1, 2, 3, 4, 5, 8, 31])
def test_chain_follows_each_patch_through_all_pairs(pairs):
    matching = random_permutations(2, pairs)
    routes = chain(matching)
    assert routes.shape == (2, 1 + pairs, 12)
    for b, i in [(0, 0), (1, 5)]:
        patch = i
        for t in range(pairs):
            patch = matching[b, t, patch].item()
            assert routes[b, t + 1, i] == patch


@pytest.mark.parametrize('anchors', [None, (0, 0, 0)])
def test_chain_starts_with_the_identity(anchors):
    routes = chain(random_permutations(2, 3), anchors)
    assert torch.equal(routes[:, 0], identity(2, 12))


def test_chain_leaves_the_matchings_as_they_are():
    matching = random_permutations(2, 3)
    before = matching.clone()
    chain(matching)
    assert torch.equal(matching, before)


@pytest.mark.parametrize('anchors', [(0, 0, 0), (0, 1, 1), (0, 0, 2)])
def test_chain_continues_from_the_anchors(anchors):
    matching = random_permutations(2, 3)
    routes = chain(matching, anchors)
    for t, anchor in enumerate(anchors, start=1):
        for patch, found in zip(routes[1, anchor], routes[1, t]):
            assert found == matching[1, t - 1, patch]


@pytest.mark.parametrize('bad', [[0, 0, 1], [0, 1, 3], [-1, 0, 1]])
def test_invert_refuses_what_is_not_a_permutation(bad):
    with pytest.raises(ValueError, match='permutations of 0..2'):
        invert(torch.tensor(bad))


@pytest.mark.parametrize('anchors', [None, (0, 0, 0), (0, 0, 2)])
def test_chain_and_invert_does_both(anchors):
    matching = random_permutations(2, 3)
    routes, inverse = chain_and_invert(matching, anchors)
    assert torch.equal(routes, chain(matching, anchors))
    assert torch.equal(inverse, invert(routes))


def permuted(x, order):
    return permute(x, order, invert(order))


def test_permute_orders_the_patches_of_each_frame():
    x, order = torch.randn(2, 3, 12, 4), random_permutations(2, 3)
    y = permuted(x, order)
    for b, t, i in [(0, 0, 0), (0, 2, 5), (1, 1, 3)]:
        assert torch.equal(y[b, t, i], x[b, t, order[b, t, i]])


def test_gradients_of_permute_are_correct():
    order = random_permutations(2, 3, num=4)
    x = torch.randn(2, 3, 4, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: permuted(x, order), x)
    assert torch.autograd.gradgradcheck(lambda x: permuted(x, order), x)


def test_the_gradient_of_permute_is_that_of_a_gather_to_the_bit():
    order = random_permutations(2, 3)
    x = torch.randn(2, 3, 12, 4, requires_grad=True)
    gathered = x.gather(2, order[..., None].expand(-1, -1, -1, 4))
    gradient = torch.randn(2, 3, 12, 4)
    found, expected = (
        torch.autograd.grad(y, x, gradient)[0]
        for y in (permuted(x, order), gathered)
    )
    assert torch.equal(found, expected)


def test_permute_compiles_with_its_gradient():
    order = random_permutations(2, 3)
    compiled = torch.compile(permuted, fullgraph=True, backend='aot_eager')
    x = torch.randn(2, 3, 12, 4, requires_grad=True)
    expected, found = (
        torch.autograd.grad(f(x, order).square().sum(), x)[0]
        for f in (permuted, compiled)
    )
    assert torch.equal(found, expected)


def test_torch_func_differentiates_permute():
    order = random_permutations(2, 3)
    x = torch.randn(2, 3, 12, 4, requires_grad=True)

    def loss(x):
        return permuted(x, order).cumsum(1).square().sum()

    found, expected = torch.func.grad(loss)(x), torch.autograd.grad(loss(x), x)
    assert torch.equal(found, *expected)


def test_other_rows_get_the_free_columns_in_order():
    matching = torch.tensor([[3, 3, 0, 9]])
    keep = torch.tensor([[False, True, True, False]])
    assert complete(matching, keep).tolist() == [[1, 3, 0, 2]]


def test_permute_is_batched_by_vmap():
    order = random_permutations(2, 3)
    x = torch.randn(5, 2, 3, 12, 4)
    found = torch.func.vmap(lambda x: permute(x, order, invert(order)))(x)
    expected = [permute(one, order, invert(order)) for one in x]
    assert torch.equal(found, torch.stack(expected))
