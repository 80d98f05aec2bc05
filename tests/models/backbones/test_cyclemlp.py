# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""CycleMLP against its formulas, CycleFC against loops and torchvision."""

import copy
from fnmatch import fnmatch

import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS

from ata_mm.checkpoints import load_pretrained
from ata_mm.models import CycleMLP
from ata_mm.models.backbones.cyclemlp import (
    CycleBlock,
    CycleFC,
    cycle_shift,
)

ARCH = dict(depths=[1, 1, 2, 1], channels=[16, 32, 48, 64])
SIZES = [(5, 7), (1, 4), (4, 1), (1, 1)]


def build(arch=ARCH, **options):
    """Build a small model of random weights, none of them negligible."""
    model = CycleMLP(arch, **options)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.15)
        if parameter.ndim == 1 and name.endswith('weight'):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model.eval()


def reference(x, weights, arch=ARCH):
    """Compute the formulas of the official code from a state_dict."""

    def conv(x, name, **options):
        y = F.conv2d(
            x.movedim(-1, 1),
            weights[f'{name}.weight'],
            weights[f'{name}.bias'],
            **options,
        )
        return y.movedim(1, -1)

    def linear(x, name):
        weight = weights[f'{name}.weight'].flatten(1)
        return F.linear(x, weight, weights.get(f'{name}.bias'))

    def norm(x, name):
        return F.layer_norm(
            x, x.shape[-1:], weights[f'{name}.weight'], weights[f'{name}.bias']
        )

    def mlp(x, name):
        return linear(F.gelu(linear(x, f'{name}.fc1')), f'{name}.fc2')

    def mix(x, name):
        h = linear(shift_by_convolution(x, 2), f'{name}.sfc_h')
        w = linear(shift_by_convolution(x, 1), f'{name}.sfc_w')
        c = linear(x, f'{name}.mlp_c')
        a = mlp((h + w + c).mean((1, 2)), f'{name}.reweight')
        a = a.view(len(x), 1, 1, -1, 3).softmax(-1)
        mixed = h * a[..., 0] + w * a[..., 1] + c * a[..., 2]
        return linear(mixed, f'{name}.proj')

    x = conv(x.movedim(1, -1), 'patch_embed.proj', stride=4, padding=2)
    for i, depth in enumerate(arch['depths']):
        if i > 0:
            x = conv(x, f'network.{2 * i - 1}.proj', stride=2, padding=1)
        for block in (f'network.{2 * i}.{j}' for j in range(depth)):
            x = x + mix(norm(x, f'{block}.norm1'), f'{block}.attn')
            x = x + mlp(norm(x, f'{block}.norm2'), f'{block}.mlp')
    return norm(x, 'norm').movedim(-1, 1)


def shift_by_convolution(x, dim):
    """Shift as in CycleFC, by a depthwise convolution of ones and zeros."""
    channels = x.shape[-1]
    seen = torch.tensor([1, 2, 0]).repeat(channels)[:channels]
    kernel = F.one_hot(seen, 3).to(x).view(channels, 1, 1, 3)
    if dim == 1:
        kernel = kernel.transpose(2, 3)
    y = F.conv2d(
        x.movedim(-1, 1), kernel, padding=(2 - dim, dim - 1), groups=channels
    )
    return y.movedim(1, -1)


@pytest.mark.parametrize('size', [(64, 64), (96, 64), (75, 101), (32, 32)])
def test_equals_its_formulas(size):
    model, x = build(), torch.randn(2, 3, *size)
    expected = reference(x, model.state_dict())
    torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=1e-5)


def test_gradients_equal_those_of_its_formulas():
    model = build()
    weights = dict(model.named_parameters())
    x = torch.randn(2, 3, 64, 64)
    ours = torch.autograd.grad(model(x).square().mean(), weights.values())
    loss = reference(x, weights).square().mean()
    theirs = torch.autograd.grad(loss, weights.values())
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    'arch, millions',
    [('b1', 15.2), ('b2', 26.8), ('b3', 38.4), ('b4', 51.8), ('b5', 75.7)],
)
def test_has_the_published_number_of_parameters(arch, millions):
    with torch.device('meta'):
        model = CycleMLP(arch)
        head = torch.nn.Linear(model.norm.weight.numel(), 1000)
    count = sum(p.numel() for m in (model, head) for p in m.parameters())
    assert abs(count / 1e6 - millions) < 0.1  # Table 1 of CycleMLP


def test_block_pattern_matches_exactly_the_blocks():
    model = build()
    pattern = CycleMLP.block_pattern.split('.')
    blocks = [
        module
        for name, module in model.named_modules()
        if len(name.split('.')) == len(pattern)
        and all(map(fnmatch, name.split('.'), pattern))
    ]
    assert len(blocks) == sum(ARCH['depths'])
    assert all(isinstance(block, CycleBlock) for block in blocks)


def test_features_are_channels_last_in_memory():
    model, maps = build(), []
    for block in (model.network[0][0], model.norm):
        block.register_forward_pre_hook(lambda _, args: maps.append(args[0]))
    model(torch.randn(2, 3, 64, 64))
    assert all(x.is_contiguous() for x in maps)


def test_offsets_are_saved_as_in_the_official_code():
    row, column = build().network[0][0].attn.sfc_w.offset.view(-1, 2).T
    assert row.tolist() == [0, 1, -1] * 5 + [0] and column.eq(0).all()


def test_checkpoints_without_offsets_load():
    model = build()
    weights = dict(model.named_parameters())
    copied = copy.deepcopy(model)
    assert not any(copied.load_state_dict(weights))


@pytest.mark.parametrize('load', [CycleMLP.load_state_dict, load_pretrained])
def test_other_offsets_are_refused_before_anything_is_loaded(load):
    model, weights = build(), build().state_dict()
    before = copy.deepcopy(model.state_dict())
    weights['network.6.0.attn.sfc_h.offset'] *= -1
    with pytest.raises(ValueError, match=r'attn.sfc_h.offset.*0, 1, -1'):
        load(model, weights)
    torch.testing.assert_close(model.state_dict(), before, atol=0, rtol=0)


def test_initialisation_is_the_official_one():
    model = CycleMLP(dict(depths=[1, 1], channels=[64, 128]))
    block = model.network[2][0]
    for layer in (block.attn.sfc_h, block.attn.reweight.fc2, block.mlp.fc1):
        assert abs(layer.weight.std() - 0.02) < 2e-3
        assert layer.bias.eq(0).all()
    bound = (9 * 64) ** -0.5  # of torch's initialisation
    assert 0.9 < model.network[1].proj.weight.abs().max() / bound <= 1


def test_mlp_ratios_are_per_stage():
    model = build(dict(ARCH, mlp_ratios=[8, 8, 4, 2]))
    hidden = [model.network[i][0].mlp.fc1.out_features for i in (0, 2, 4, 6)]
    assert hidden == [128, 256, 192, 128]


def test_stochastic_depth_grows_from_block_to_block():
    model = build(drop_path_rate=0.4)
    rates = [b.drop_path.drop_prob for s in model.network[::2] for b in s]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_is_built_from_a_config():
    model = MODELS.build(dict(type='CycleMLP', arch=ARCH, in_channels=2))
    assert model(torch.randn(1, 2, 64, 32)).shape == (1, 64, 2, 1)


@pytest.mark.parametrize(
    'arch', ['b6', dict(depths=[1]), dict(ARCH, transitions=[True] * 4)]
)
def test_refuses_an_unknown_arch(arch):
    with pytest.raises(ValueError, match=r"one of \['b1', .*mlp_ratios"):
        CycleMLP(arch)


@pytest.mark.parametrize('shape', [(3, 64, 64), (1, 4, 64, 64), (1, 3, 2, 64)])
def test_refuses_images_of_another_shape(shape):
    with pytest.raises(ValueError, match=r'\(B, 3, H, W\) of at least 3 x'):
        build()(torch.randn(shape))


def shift_literally(x, dim):
    """Compute :func:`cycle_shift` position by position; dim is 1 or 2."""
    out = torch.zeros_like(x)
    for index in torch.cartesian_prod(*map(torch.arange, x.shape)).tolist():
        seen = index[:]
        seen[dim] += (0, 1, -1)[index[3] % 3]
        if 0 <= seen[dim] < x.shape[dim]:
            out[tuple(index)] = x[tuple(seen)]
    return out


@pytest.mark.parametrize('dim', [1, 2])
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('channels', [1, 3, 8])
def test_shift_equals_a_loop_over_positions(size, dim, channels):
    x = torch.randn(2, *size, channels)
    assert torch.equal(cycle_shift(x, dim), shift_literally(x, dim))


@pytest.mark.parametrize('dim', [1, 2])
@pytest.mark.parametrize('size', SIZES)
def test_shift_has_the_gradient_of_finite_differences(size, dim):
    x = torch.randn(1, *size, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: cycle_shift(x, dim), x)
    (expected,) = torch.autograd.grad(cycle_shift(x, dim).square().sum(), x)
    found = torch.func.grad(lambda x: cycle_shift(x, dim).square().sum())(x)
    assert torch.equal(found, expected)
    assert torch.autograd.gradgradcheck(lambda x: cycle_shift(x, dim), x)


def test_shift_accepts_any_strides():
    x = torch.randn(2, 8, 5, 7).permute(0, 2, 3, 1)
    assert torch.equal(cycle_shift(x, 1), shift_literally(x, 1))


@pytest.mark.parametrize('dim', [1, 2])
def test_cycle_fc_equals_deformable_convolution(dim):
    ops = pytest.importorskip('torchvision.ops')
    layer = CycleFC(7, dim)
    x = torch.randn(2, 5, 6, 7, requires_grad=True)
    theirs = ops.deform_conv2d(
        x.permute(0, 3, 1, 2),
        layer.offset.expand(2, -1, 5, 6),
        layer.weight,
        layer.bias,
    ).permute(0, 2, 3, 1)
    inputs = (x, layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        torch.autograd.grad(layer(x).square().sum(), inputs),
        torch.autograd.grad(theirs.square().sum(), inputs),
        atol=1e-4,
        rtol=1e-4,
    )
