# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""ATAConvNeXt and ATACycleMLP."""

import pytest
import torch
from mmaction.registry import MODELS

from ata_mm.checkpoints import load_pretrained
from ata_mm.models import ATAConvNeXt, ATACycleMLP, ConvNeXt, CycleMLP

ARCH = dict(depths=[1, 1, 2, 1], channels=[16, 32, 48, 64])
FAMILIES = [(ATAConvNeXt, ConvNeXt), (ATACycleMLP, CycleMLP)]


@pytest.fixture(params=FAMILIES, ids=lambda family: family[1].__name__)
def family(request):
    """The video backbone and its image model."""
    return request.param


@pytest.fixture
def model(family):
    return build(family[0])


def build(backbone, temporal='ATA', **options):
    return backbone(
        4,
        ARCH,
        img_size=64,
        head_dims=16,
        temporal=dict(type=temporal),
        **options,
    )


@pytest.mark.parametrize(
    'backbone, image_model, options',
    [
        (*FAMILIES[0], {}),
        (*FAMILIES[1], {}),
        (*FAMILIES[0], dict(final_norm=True)),
    ],
)
def test_averaging_equals_the_image_model_bitwise(
    backbone, image_model, options
):
    model = build(backbone, 'TemporalAveraging', **options).eval()
    image = image_model(ARCH, **options).eval()
    image.load_state_dict(model.image.state_dict())
    x = torch.randn(2, 3, 4, 64, 64)
    maps = image(x.transpose(1, 2).flatten(0, 1))
    assert torch.equal(model(x), maps.unflatten(0, (2, 4)).transpose(1, 2))


@pytest.mark.parametrize(
    'backbone, names',
    [
        (ATAConvNeXt, 'stages 0.0 1.0 2.0 2.1 3.0'),
        (ATACycleMLP, 'network 0.0 2.0 4.0 4.1 6.0'),
    ],
)
def test_temporal_modules_are_inserted_before_the_blocks(backbone, names):
    model = build(backbone)
    part, *blocks = names.split()
    assert model.block_names == [f'{part}.{block}' for block in blocks]
    assert [m.attn.num_heads for m in model.temporal] == [1, 2, 3, 3, 4]


def test_stochastic_depth_equals_that_of_the_blocks(family):
    model = build(family[0], drop_path_rate=0.4)
    blocks = [model.image.get_submodule(name) for name in model.block_names]
    rates = [block.drop_path.drop_prob for block in blocks]
    assert rates == [m.drop_path.drop_prob for m in model.temporal]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_every_parameter_gets_a_gradient(model):
    model(torch.randn(1, 3, 4, 64, 64)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    'backbone, image_model, options',
    [(*FAMILIES[0], dict(final_norm=True)), (*FAMILIES[1], {})],
)
def test_official_keys_load(backbone, image_model, options):
    model, image = build(backbone), image_model(ARCH, **options)
    load_pretrained(model, image.state_dict())
    expected = image.state_dict()
    assert all(
        torch.equal(value, expected[key])
        for key, value in model.image.state_dict().items()
    )


@pytest.mark.parametrize('temporal', ['ATA', 'TemporalAveraging'])
@pytest.mark.parametrize(
    'backbone, channels, millions',
    [
        (ATAConvNeXt, 1024, dict(ATA=140.5, TemporalAveraging=88.0)),
        (ATACycleMLP, 768, dict(ATA=102.8, TemporalAveraging=75.3)),
    ],
)
def test_has_the_size_of_the_paper_by_default(
    backbone, channels, millions, temporal
):
    with torch.device('meta'):
        model = backbone(8, temporal=dict(type=temporal))
    head = (channels + 1) * 400
    ours = sum(p.numel() for p in model.parameters()) + head
    assert abs(ours / 1e6 - millions[temporal]) < 0.3  # Table 3


def test_is_built_from_a_config(family, model):
    cfg = dict(type=family[0].__name__, num_frames=4, arch=ARCH, head_dims=16)
    assert MODELS.build(cfg).block_names == model.block_names


def test_misspelt_option_is_named(family):
    with pytest.raises(TypeError, match="'head_dim'"):
        family[0](4, ARCH, head_dim=16)
