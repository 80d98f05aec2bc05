# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
from mmaction.registry import MODELS

from ata_mm.models import ATATimeSformer, JointAttention
from ata_mm.models.backbones.timesformer import DividedBlock


def timesformer(temporal):
    return ATATimeSformer(
        num_frames=2,
        img_size=32,
        embed_dims=24,
        num_heads=3,
        num_layers=1,
        temporal=dict(type=temporal))


def test_is_a_block_chosen_by_the_config_of_the_temporal_module():
    assert isinstance(timesformer('JointAttention').blocks[0], JointAttention)
    assert isinstance(timesformer('ATA').blocks[0], DividedBlock)


def test_has_the_parameters_of_an_image_block():
    joint, image = map(timesformer, ('JointAttention', 'TemporalAveraging'))
    assert (joint.blocks[0].state_dict().keys() ==
            image.blocks[0].state_dict().keys())


def test_is_refused_by_backbones_that_need_a_layer():
    with pytest.raises(ValueError, match='is a block of ATATimeSformer'):
        MODELS.build(
            dict(
                type='ATAConvNeXt',
                num_frames=2,
                arch='tiny',
                img_size=32,
                temporal=dict(type='JointAttention')))
