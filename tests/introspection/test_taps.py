# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from torch import nn

from ata_mm.introspection import (
    before_tap,
    final_tap,
    temporal_modules,
    temporal_taps,
)
from ata_mm.introspection.taps import Call
from ata_mm.models import ATA, ATABackbone
from tests.models.backbones.toys import MapModel, TokenModel
from tests.visualization import models

FAMILIES = [
    (models.vit, 'backbone.blocks.{}.temporal', 3),
    (models.convnext, 'backbone.temporal.{}', 3),
    (models.cyclemlp, 'backbone.temporal.{}', 2),
    (models.tsn, 'neck.blocks.{}', 1),
]
families = pytest.mark.parametrize('model, name, number', FAMILIES)
JOINT = dict(type='JointAttention')
AVERAGING = dict(type='TemporalAveraging')


class Recognizer(nn.Module):
    """A backbone without neck."""

    with_neck = False

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone


def names_and_kinds(taps):
    return [(tap.name, tap.kind) for tap in taps]


@families
@pytest.mark.parametrize('kind', ['ATA', 'TemporalAveraging'])
def test_there_is_a_tap_for_each_temporal_module(model, name, number, kind):
    taps = temporal_taps(model(dict(type=kind)))
    assert names_and_kinds(taps) == [
        (name.format(i), kind) for i in range(number)
    ]


def test_joint_attention_is_a_temporal_module_without_its_image_block():
    modules = temporal_modules(models.vit(JOINT))
    assert [name for name, _ in modules] == [
        f'backbone.blocks.{i}' for i in range(3)
    ]
    kinds = [tap.kind for tap in temporal_taps(models.vit(JOINT))]
    assert kinds == ['JointAttention'] * 3


def test_other_models_have_no_tap():
    assert temporal_taps(nn.Linear(2, 2)) == []


def test_a_module_is_tapped_at_its_output():
    module, x = ATA(8, 2), torch.randn(1, 2, 6, 8)
    (tap,) = temporal_taps(module)
    call = Call((x,), dict(grid=(2, 3)), output=x + 1)
    assert tap.module is module and not tap.before
    assert torch.equal(tap.select(call), x + 1)
    assert tap.read(x, call) == (x, (2, 3))


def test_before_a_module_is_its_input():
    x = torch.randn(1, 2, 6, 8)
    tap = before_tap(temporal_taps(ATA(8, 2))[0])
    assert tap.before
    assert tap.select(Call((), dict(x=x, grid=(2, 3)))) is x


def test_blocks_are_tapped_without_class_token():
    tap, *_ = temporal_taps(models.vit(JOINT))
    x = torch.randn(1, 4, 17, 32)
    patches, grid = tap.read(x, Call((x, None, (4, 4)), {}))
    assert torch.equal(patches, x[:, :, 1:]) and grid == (4, 4)


def test_modules_that_are_not_called_are_tapped_at_the_input_of_the_block():
    model = models.convnext(AVERAGING)
    tap, *_ = temporal_taps(model)
    x = torch.randn(4, 16, 8, 8)  # T maps of one clip
    patches, grid = tap.read(tap.select(Call((x,), {})), Call((x,), {}))
    assert tap.before and tap == before_tap(tap)
    assert tap.module is model.backbone.image.get_submodule(
        model.backbone.block_names[0]
    )
    assert torch.equal(patches[0], x.flatten(2).transpose(1, 2))
    assert grid == (8, 8)


def test_patches_need_a_grid():
    module, x = ATA(8, 2), torch.randn(1, 2, 6, 8)
    (tap,) = temporal_taps(module)
    with pytest.raises(ValueError, match='N = 6 patches'):
        tap.read(x, Call((x,), {}))


@pytest.mark.parametrize('temporal', [models.ATA, JOINT])
def test_final_patches_of_a_vit_are_those_of_the_last_block(temporal):
    model = models.vit(temporal)
    assert final_tap(model).module is model.backbone.blocks[-1]


@pytest.mark.parametrize(
    'model, part', [(models.convnext, 'backbone'), (models.tsn, 'neck')]
)
def test_final_patches_are_those_that_the_head_gets(model, part):
    model = model()
    tap, maps = final_tap(model), torch.randn(1, 8, 4, 3, 2)
    patches, grid = tap.read(maps, Call((), {}))
    assert tap.module is model.get_submodule(part)
    assert grid == (3, 2)
    assert torch.equal(patches.unflatten(2, grid).permute(0, 4, 1, 2, 3), maps)


def test_final_patches_of_stages_are_those_of_the_last():
    tap, maps = final_tap(models.tsn()), torch.randn(1, 8, 4, 2, 2)
    call = Call((), {}, ((torch.zeros(1), maps), dict(loss_aux=0)))
    assert tap.select(call) is maps


@pytest.mark.parametrize(
    'image, options, patches',
    [
        (dict(type=TokenModel), dict(output='cls_token'), (1, 4, 16, 16)),
        (dict(type=MapModel, head=True), {}, (1, 4, 64, 16)),
    ],
)
def test_final_patches_before_a_vector_are_those_of_the_last_block(
    image, options, patches
):
    backbone = ATABackbone(
        image, 'blocks.*', num_frames=4, img_size=32, head_dims=8, **options
    )
    tap = final_tap(Recognizer(backbone))
    assert tap.module is backbone.image.blocks[-1]
    x = torch.zeros(4, 17, 16) if options else torch.zeros(4, 16, 8, 8)
    assert tap.read(x, Call((), {}))[0].shape == patches


def test_vectors_have_no_patches():
    tap = final_tap(Recognizer(nn.Identity()))
    with pytest.raises(ValueError, match='returns feature maps, got an out'):
        tap.read(torch.zeros(1, 8), Call((), {}))
