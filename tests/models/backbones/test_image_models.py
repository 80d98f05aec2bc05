# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Models of timm, mmpretrain and torchvision, if these are installed."""

import importlib
from typing import NamedTuple

import pytest
import torch
from mmaction.registry import MODELS

from ata_mm.checkpoints import load_pretrained
from ata_mm.models import ATABackbone


class Case(NamedTuple):
    """An image model, its blocks, and what is expected at 64 pixels.

    ``grids`` are the side lengths of the blocks' grids, ``map`` is the shape
    of the feature map.
    """

    type: str
    blocks: str
    grids: list
    map: tuple
    options: dict = {}
    small: dict = {}
    head_dims: int = 32
    img_size: int = 64


CASES = [
    Case(
        'timm.convnext_atto',
        'stages.*.blocks.*',
        [16] * 2 + [8] * 2 + [4] * 6 + [2] * 2,
        (320, 2, 2),
        head_dims=20,
    ),
    Case(
        'timm.vit_tiny_patch16_224',
        'blocks.*',
        [4] * 12,
        (192, 4, 4),
        small=dict(img_size=64),
    ),
    Case(
        'timm.swin_tiny_patch4_window7_224',
        'layers.*.blocks.*',
        [16] * 2 + [8] * 2 + [4] * 6 + [2] * 2,
        (768, 2, 2),
        small=dict(img_size=64),
    ),
    Case(
        'timm.mixer_s32_224',
        'blocks.*',
        [3] * 8,
        (512, 3, 3),
        small=dict(img_size=96),
        img_size=96,
    ),
    Case(
        'timm.resmlp_12_224',
        'blocks.*',
        [4] * 12,
        (384, 4, 4),
        small=dict(img_size=64),
    ),
    Case(
        'timm.resnet18', 'layer*.*', [16, 16, 16, 8, 8, 4, 4, 2], (512, 2, 2)
    ),
    Case(
        'mmpretrain.ConvNeXt',
        'stages.*.*',
        [16] * 2 + [8] * 2 + [4] * 6 + [2] * 2,
        (320, 2, 2),
        dict(arch='atto', gap_before_final_norm=False),
        head_dims=20,
    ),
    Case(
        'mmpretrain.SwinTransformer',
        'stages.*.blocks.*',
        [16] * 2 + [8] * 2 + [4] * 6 + [2] * 2,
        (768, 2, 2),
        dict(arch='tiny'),
        dict(img_size=64, pad_small_map=True),
    ),
    Case(
        'torchvision.resnet18',
        'layer*.*',
        [16, 16, 16, 8, 8, 4, 4, 2],
        (512, 1, 1),
    ),
]


@pytest.fixture(params=CASES, ids=lambda case: case.type)
def case(request):
    pytest.importorskip(request.param.type.split('.')[0])
    return request.param


def build(case, temporal='ATA', native=False, **options):
    """Build it for 2 frames, small or of the published size (native)."""
    image = dict(type=case.type, **case.options)
    return ATABackbone(
        image if native else dict(image, **case.small),
        case.blocks,
        2,
        img_size=224 if native else case.img_size,
        temporal=dict(type=temporal),
        head_dims=case.head_dims,
        **options,
    )


def clip(case):
    return torch.randn(1, 3, 2, case.img_size, case.img_size)


def bare_model(case):
    """Build the model by its package; return it and its feature function."""
    package, name = case.type.split('.')
    if package == 'timm':
        model = importlib.import_module('timm').create_model(
            name, num_classes=0
        )
        return model, model.forward_features
    if package == 'torchvision':
        model = importlib.import_module('torchvision.models').get_model(name)
        model.fc = torch.nn.Identity()
        return model, model
    cfg = dict(type=name, _scope_=package, **case.options)
    model = MODELS.build(cfg)
    return model, lambda x: model(x)[-1]


@torch.no_grad()
def test_averaging_equals_the_image_model_bitwise(case):
    model = build(case, 'TemporalAveraging', native=True).eval()
    x = torch.randn(1, 3, 2, 224, 224)
    bare, features = bare_model(case)
    bare.load_state_dict(model.image.state_dict())
    bare.eval()
    expected = features(x[0].transpose(0, 1))
    maps = model(x)[0].transpose(0, 1)  # (T, C, h, w)
    if expected.ndim == 3:  # tokens, a class token first
        expected = expected[:, -maps[0, 0].numel() :]
        maps = maps.flatten(2).transpose(1, 2)
    elif maps.shape[1] != expected.shape[1]:
        maps = maps.permute(0, 2, 3, 1)
    assert torch.equal(maps, expected.view(maps.shape))


def test_routes_cover_the_whole_grid(case):
    model = build(case).eval()
    shapes = []
    for module in model.temporal:
        module.register_forward_pre_hook(
            lambda module, args: shapes.append(
                module.alignment(args[0]).routes.shape
            )
        )
    assert model(clip(case)).shape == (1, case.map[0], 2, *case.map[1:])
    assert shapes == [(1, 2, side**2) for side in case.grids]


def test_every_parameter_in_use_gets_a_gradient(case):
    model = build(case).train()
    model(torch.cat([clip(case)] * 2)).square().mean().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.isfinite().all(), name
        else:  # of timm's classifier
            assert name.startswith('image.head.norm.')


def test_image_model_is_unchanged_at_the_first_step(case):
    model = build(case, 'ATA').eval()
    plain = build(case, 'TemporalAveraging').eval()
    plain.image.load_state_dict(model.image.state_dict())
    x = clip(case)
    torch.testing.assert_close(model(x), plain(x))


def test_gradients_with_recomputation_by_timm_equal_those_without():
    pytest.importorskip('timm')
    case, grads = CASES[1], []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = build(case).train()
        model.image.set_grad_checkpointing(recompute)
        model(clip(case)).square().mean().backward()
        grads.append([p.grad for p in model.parameters()])
    torch.testing.assert_close(*grads)


def test_a_checkpoint_of_timm_loads_without_its_classifier():
    timm = pytest.importorskip('timm')
    model, source = build(CASES[0]), timm.create_model('convnext_atto')
    report = load_pretrained(model, source.state_dict())
    assert sorted(report.dropped) == ['head.fc.bias', 'head.fc.weight']
    assert torch.equal(model.image.head.norm.weight, source.head.norm.weight)
    assert torch.equal(model.image.stem[0].weight, source.stem[0].weight)


def test_init_weights_does_not_change_models_of_timm():
    pytest.importorskip('timm')
    model = build(CASES[1])
    before = {k: v.clone() for k, v in model.image.state_dict().items()}
    model.init_weights()
    after = model.image.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@torch.no_grad()
@pytest.mark.parametrize(
    'name, channels',
    [('alexnet', 256), ('vgg11', 512), ('squeezenet1_1', 512)],
)
def test_models_of_torchvision_that_flatten_a_map_return_its_mean(
    name, channels
):
    pytest.importorskip('torchvision')
    options = dict(init_weights=False) if name == 'vgg11' else {}
    model = ATABackbone(
        dict(type=f'torchvision.{name}', **options),
        'features.[3-9]',
        2,
        img_size=64,
        layout='NCHW',
        temporal=dict(type='TemporalAveraging'),
    ).eval()
    x = torch.randn(1, 3, 2, 64, 64)
    mean = model.image.features(x[0].transpose(0, 1)).mean((2, 3))
    torch.testing.assert_close(model(x), mean.T[None, :, :, None, None])


def test_models_with_classifiers_for_the_training_alone_are_trained():
    pytest.importorskip('torchvision')
    model = ATABackbone(
        dict(type='torchvision.googlenet', init_weights=False),
        'inception[45]*',
        2,
        img_size=64,
        temporal=dict(type='TemporalAveraging'),
    ).train()
    features = model(torch.randn(2, 3, 2, 64, 64))
    features.sum().backward()
    assert features.shape == (2, 1024, 2, 1, 1)
    assert not any(
        name.startswith('aux') for name, _ in model.image.named_parameters()
    )
