# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""CycleFC against loops, finite differences and torchvision."""
import pytest
import torch

from ata_mm.models.backbones.cyclemlp import CycleFC, cycle_shift

SIZES = [(5, 7), (1, 4), (4, 1), (1, 1)]


def shift_literally(x, dim):
    """:func:`cycle_shift`, place by place; dim is 1 or 2."""
    out = torch.zeros_like(x)
    for place in torch.cartesian_prod(*map(torch.arange, x.shape)).tolist():
        seen = place[:]
        seen[dim] += (0, 1, -1)[place[3] % 3]
        if 0 <= seen[dim] < x.shape[dim]:
            out[tuple(place)] = x[tuple(seen)]
    return out


@pytest.mark.parametrize('dim', [1, 2])
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('channels', [1, 3, 8])
def test_shift_equals_a_loop_over_places(size, dim, channels):
    x = torch.randn(2, *size, channels)
    assert torch.equal(cycle_shift(x, dim), shift_literally(x, dim))


@pytest.mark.parametrize('dim', [1, 2])
@pytest.mark.parametrize('size', SIZES)
def test_gradient_of_the_shift(size, dim):
    x = torch.randn(1, *size, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: cycle_shift(x, dim), x)
    assert torch.autograd.gradgradcheck(lambda x: cycle_shift(x, dim), x)


def test_shift_takes_any_strides():
    x = torch.randn(2, 8, 5, 7).permute(0, 2, 3, 1)
    assert torch.equal(cycle_shift(x, 1), shift_literally(x, 1))


@pytest.mark.parametrize('dim', [1, 2])
def test_cycle_fc_equals_deformable_convolution(dim):
    ops = pytest.importorskip('torchvision.ops')
    layer = CycleFC(7, dim)
    x = torch.randn(2, 5, 6, 7, requires_grad=True)
    theirs = ops.deform_conv2d(
        x.permute(0, 3, 1, 2), layer.offset.expand(2, -1, 5, 6), layer.weight,
        layer.bias).permute(0, 2, 3, 1)
    inputs = (x, layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        torch.autograd.grad(layer(x).square().sum(), inputs),
        torch.autograd.grad(theirs.square().sum(), inputs),
        atol=1e-4,
        rtol=1e-4)
