# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""ConvNeXt against its formulas, timm and mmpretrain."""

import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS

from ata_mm.models import ConvNeXt

ARCH = dict(depths=[1, 1, 2, 1], channels=[16, 32, 48, 64])


def build(**options):
    """Build a small model of random weights, none of them negligible."""
    return randomized(ConvNeXt(ARCH, **options))


def randomized(model):
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.15)
        if name.endswith(('norm.weight', 'gamma')):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model.eval()


def reference(x, weights, arch=ARCH):
    """Compute the formulas of the official code from a state_dict."""

    def conv(x, name, **options):
        return F.conv2d(
            x, weights[f'{name}.weight'], weights[f'{name}.bias'], **options
        )

    def norm(x, name):
        centred = x - x.mean(1, keepdim=True)
        scale = (centred.square().mean(1, keepdim=True) + 1e-6).rsqrt()
        weight, bias = weights[f'{name}.weight'], weights[f'{name}.bias']
        return centred * scale * weight[:, None, None] + bias[:, None, None]

    def linear(x, name):
        out = torch.einsum('oc,bchw->bohw', weights[f'{name}.weight'], x)
        return out + weights[f'{name}.bias'][:, None, None]

    def block(x, name):
        y = conv(x, f'{name}.dwconv', padding=3, groups=x.shape[1])
        y = F.gelu(linear(norm(y, f'{name}.norm'), f'{name}.pwconv1'))
        y = linear(y, f'{name}.pwconv2')
        return x + y * weights[f'{name}.gamma'][:, None, None]

    for i, depth in enumerate(arch['depths']):
        down = f'downsample_layers.{i}'
        if i == 0:
            x = norm(conv(x, f'{down}.0', stride=4), f'{down}.1')
        else:
            x = conv(norm(x, f'{down}.0'), f'{down}.1', stride=2)
        for j in range(depth):
            x = block(x, f'stages.{i}.{j}')
    return x, norm(x.mean((2, 3), keepdim=True), 'norm')


@pytest.mark.parametrize('size', [(64, 64), (96, 64), (75, 101)])
def test_equals_its_formulas(size):
    model, x = build(final_norm=True), torch.randn(2, 3, *size)
    features, pooled = reference(x, model.state_dict())
    torch.testing.assert_close(model(x), pooled, atol=1e-5, rtol=1e-5)
    model.norm = None
    torch.testing.assert_close(model(x), features, atol=1e-5, rtol=1e-5)


def test_gradients_equal_those_of_its_formulas():
    model = build(final_norm=True)
    weights = dict(model.named_parameters())
    x = torch.randn(2, 3, 64, 64)
    ours = torch.autograd.grad(model(x).square().sum(), weights.values())
    pooled = reference(x, weights)[1].square().sum()
    theirs = torch.autograd.grad(pooled, weights.values())
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_equals_timm():
    timm = pytest.importorskip('timm')
    peer = timm.models.ConvNeXt(
        depths=ARCH['depths'], dims=ARCH['channels'], num_classes=0
    )
    model, x = build(final_norm=True), torch.randn(2, 3, 64, 96)
    peer.load_state_dict(
        timm.models.convnext.checkpoint_filter_fn(model.state_dict(), peer)
    )
    theirs = peer.eval()(x)[:, :, None, None]
    torch.testing.assert_close(model(x), theirs, atol=1e-5, rtol=1e-5)


def test_equals_mmpretrain():
    pytest.importorskip('mmpretrain')
    from mmpretrain.models import ConvNeXt as Peer

    model, peer = build(final_norm=True), Peer(ARCH)
    names = dict(
        depthwise_conv='dwconv',
        pointwise_conv1='pwconv1',
        pointwise_conv2='pwconv2',
        norm3='norm',
    )
    for name, parameter in peer.named_parameters():
        ours = '.'.join(names.get(part, part) for part in name.split('.'))
        parameter.data = model.get_parameter(ours).data
    peer.eval()
    x = torch.randn(2, 3, 64, 96)
    theirs = peer(x)[0][:, :, None, None]
    torch.testing.assert_close(model(x), theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    'arch, millions',
    [
        ('tiny', 28.59),
        ('small', 50.22),
        ('base', 88.59),
        ('large', 197.77),
        ('xlarge', 350.20),
    ],
)
def test_has_the_published_number_of_parameters(arch, millions):
    with torch.device('meta'):
        model = ConvNeXt(arch, final_norm=True)
        head = torch.nn.Linear(model.norm.weight.numel(), 1000)
    count = sum(p.numel() for m in (model, head) for p in m.parameters())
    assert abs(count / 1e6 - millions) < 0.01  # Table 9 and official README


def test_features_have_no_final_norm_by_default():
    assert not any(key.startswith('norm.') for key in build().state_dict())


def test_features_are_channels_last_in_memory():
    features = build()(torch.randn(2, 3, 64, 64))
    assert features.permute(0, 2, 3, 1).is_contiguous()


def test_initialisation_is_the_official_one():
    model = ConvNeXt(dict(depths=[1, 1], channels=[64, 128]))
    block = model.stages[1][0]
    assert block.gamma.eq(1e-6).all()
    for layer in (block.dwconv, block.pwconv1, model.downsample_layers[1][1]):
        assert abs(layer.weight.std() - 0.02) < 2e-3
        assert layer.bias.eq(0).all()


def test_layer_scale_is_optional():
    model = build(layer_scale_init_value=0.0)
    assert not any(key.endswith('gamma') for key in model.state_dict())
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, 64, 1, 1)


def test_stochastic_depth_grows_from_block_to_block():
    model = build(drop_path_rate=0.4)
    rates = [b.drop_path.drop_prob for stage in model.stages for b in stage]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_is_built_from_a_config():
    model = MODELS.build(dict(type='ConvNeXt', arch=ARCH, in_channels=2))
    assert model(torch.randn(1, 2, 64, 32)).shape == (1, 64, 2, 1)


@pytest.mark.parametrize(
    'arch',
    ['atto', 3, ['tiny'], dict(depths=[1, 1]), dict(ARCH, mlp_ratios=[4] * 4)],
)
def test_refuses_an_unknown_arch(arch):
    with pytest.raises(ValueError, match=r"one of \['tiny', .*or a dict\("):
        ConvNeXt(arch)


@pytest.mark.parametrize(
    'depths', [[1, 1, 2], [1, 1, 2, 0], [1, 1, 2, 1.5], 4]
)
def test_refuses_sizes_without_one_integer_per_stage(depths):
    with pytest.raises(ValueError, match='a positive integer for each'):
        ConvNeXt(dict(ARCH, depths=depths))


@pytest.mark.parametrize(
    'shape', [(3, 64, 64), (1, 4, 64, 64), (1, 3, 31, 64), (1, 3, 8, 64, 64)]
)
def test_refuses_images_of_another_shape(shape):
    with pytest.raises(ValueError, match=r'\(B, 3, H, W\) of at least 32'):
        build()(torch.randn(shape))
