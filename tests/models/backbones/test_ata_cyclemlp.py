# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.registry import MODELS

from ata_mm.checkpoints import load_pretrained
from ata_mm.models import ATACycleMLP, CycleMLP

ARCH = dict(depths=[1, 1, 2, 1], channels=[16, 32, 48, 64])


def build(temporal='ATA', **options):
    return ATACycleMLP(
        4,
        ARCH,
        img_size=64,
        head_dims=16,
        temporal=dict(type=temporal),
        **options)


def frame_features(image, x):
    maps = image(x.transpose(1, 2).flatten(0, 1))
    return maps.unflatten(0, (-1, 4)).transpose(1, 2)


def test_averaging_is_the_image_model_to_the_bit():
    model = build('TemporalAveraging').eval()
    image = CycleMLP(ARCH).eval()
    image.load_state_dict(model.image.state_dict())
    x = torch.randn(2, 3, 4, 64, 64)
    assert torch.equal(model(x), frame_features(image, x))


def test_temporal_modules_stand_before_the_blocks():
    model = build()
    assert model.block_names == [
        'network.0.0', 'network.2.0', 'network.4.0', 'network.4.1',
        'network.6.0'
    ]
    assert [m.attn.num_heads for m in model.temporal] == [1, 2, 3, 3, 4]


def test_stochastic_depth_is_that_of_the_blocks():
    model = build(drop_path_rate=0.4)
    blocks = [model.image.get_submodule(name) for name in model.block_names]
    rates = [block.drop_path.drop_prob for block in blocks]
    assert rates == [m.drop_path.drop_prob for m in model.temporal]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_every_parameter_gets_a_gradient():
    model = build()
    model(torch.randn(1, 3, 4, 64, 64)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_official_keys_load():
    model, image = build(), CycleMLP(ARCH)
    load_pretrained(model, image.state_dict())
    assert torch.equal(model.image.network[4][1].mlp.fc1.weight,
                       image.network[4][1].mlp.fc1.weight)


@pytest.mark.parametrize('temporal, millions', [('ATA', 102.8),
                                                ('TemporalAveraging', 75.3)])
def test_base_has_the_size_of_the_paper(temporal, millions):
    with torch.device('meta'):
        model = ATACycleMLP(8, temporal=dict(type=temporal))
    head = (768 + 1) * 400
    ours = sum(p.numel() for p in model.parameters()) + head
    assert abs(ours / 1e6 - millions) < 0.3  # Table 3


def test_is_built_from_a_config():
    cfg = dict(type='ATACycleMLP', num_frames=4, arch=ARCH, head_dims=16)
    assert MODELS.build(cfg).block_names == build().block_names
