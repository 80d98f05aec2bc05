# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from fractions import Fraction
from importlib.util import find_spec

import pytest
import torch
from mmaction.models import ResNet
from mmengine.registry import init_default_scope

from ata_mm.models import ConvNeXt
from ata_mm.models.backbones.wrapper.image_builder import build_image_backbone


@pytest.mark.parametrize(
    'kind', ['ResNet', 'mmaction.ResNet', 'mmaction.models.ResNet', ResNet]
)
@pytest.mark.parametrize('scope', ['mmaction', 'mmengine'])
def test_builds_from_mmaction2_in_any_default_scope(kind, scope):
    init_default_scope(scope)
    image, method = build_image_backbone(dict(type=kind, depth=18))
    assert type(image) is ResNet and method == 'forward'


@pytest.mark.parametrize('kind', ['ConvNeXt', 'ata_mm.ConvNeXt'])
def test_builds_models_of_ata_mm(kind):
    cfg = dict(type=kind, arch=dict(depths=[1], channels=[8]))
    assert type(build_image_backbone(cfg)[0]) is ConvNeXt
    assert cfg['type'] == kind  # the config is not changed


def test_builds_a_class_by_its_full_name():
    image, _ = build_image_backbone(dict(type='torch.nn.Identity'))
    assert type(image) is torch.nn.Identity


def test_builds_a_class_of_a_module_that_is_no_package():
    image, _ = build_image_backbone(dict(type='fractions.Fraction'))
    assert type(image) is Fraction


@pytest.mark.parametrize('package', ['timm', 'torchvision', 'mmpretrain'])
def test_missing_package_names_the_extra_to_install(package):
    if find_spec(package):
        pytest.skip(f'{package} is installed')
    with pytest.raises(
        ImportError, match=rf"pip install '\.\[{package}\]' in the checkout"
    ):
        build_image_backbone(dict(type=f'{package}.resnet18'))


def test_refuses_a_config_without_type():
    with pytest.raises(ValueError, match='type=NAME'):
        build_image_backbone(dict(depth=18))


def test_blocks_of_a_reversible_model_keep_their_hooks():
    pytest.importorskip('mmpretrain')
    kind = 'mmpretrain.RevVisionTransformer'
    image, _ = build_image_backbone(dict(type=kind, img_size=32))
    seen = []
    image.layers[0].register_full_backward_pre_hook(lambda *_: seen.append(1))
    image(torch.randn(1, 3, 32, 32))[0].sum().backward()
    assert seen


@pytest.mark.parametrize(
    'kind, like',
    [
        ('ConvNext', 'ConvNeXt'),
        ('timm.resnet1888', 'resnet18'),
        ('torchvision.resnet181', 'resnet18'),
        ('mmpretrain.ConvNext', 'ConvNeXt'),
    ],
)
def test_unknown_name_suggests_similar_ones(kind, like):
    if '.' in kind:
        pytest.importorskip(kind.split('.')[0])
    with pytest.raises(ValueError, match=f'does not have, but {like}'):
        build_image_backbone(dict(type=kind))
