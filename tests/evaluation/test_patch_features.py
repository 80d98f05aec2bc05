# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import torch

from ata_mm.evaluation.patch_features import patch_features
from ata_mm.models import ATABackbone, ATATimeSformer
from tests.models.backbones.toys import MapModel

FRAMES = torch.randn(4, 3, 32, 32)


def image_model(num_frames):
    return ATABackbone(
        dict(type=MapModel),
        blocks='blocks.*',
        num_frames=num_frames,
        img_size=32,
        temporal=dict(type='TemporalAveraging'),
    ).eval()


def test_features_of_an_image_model_are_the_input_of_its_blocks():
    model = image_model(num_frames=1)
    found = patch_features(model, FRAMES, 1)
    assert list(found) == ['blocks.0', 'blocks.1']
    x, grid = found['blocks.0']
    stem = model.image.stem(FRAMES)
    assert grid == (8, 8)
    torch.testing.assert_close(x[0], stem.flatten(2).transpose(1, 2))


def test_frames_may_be_several_clips():
    found = patch_features(image_model(num_frames=2), FRAMES, 2)
    assert found['blocks.1'][0].shape == (1, 4, 64, 16)


def test_features_of_ata_are_those_that_it_matches():
    model = ATATimeSformer(
        num_frames=4,
        img_size=32,
        patch_size=8,
        embed_dims=24,
        num_heads=3,
        num_layers=1,
        temporal=dict(type='ATA', match_on='content'),
    ).eval()
    with torch.no_grad():
        model.pos_embed.fill_(100.0)
    ((x, grid),) = patch_features(model, FRAMES, 4).values()
    assert (x.shape, grid) == ((1, 4, 16, 24), (4, 4))
    assert x.abs().max() < 10  # without the position embedding
