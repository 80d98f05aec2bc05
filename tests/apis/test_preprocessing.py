# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
from mmengine.config import Config

from ata_mm.apis.image_models import HALF, IMAGENET, Statistics
from ata_mm.apis.preprocessing import (
    expected_statistics,
    preprocessing_fault,
    saved_statistics,
)


def config(mean=None, std=None, backbone=None, **model):
    pixels = dict(type='ActionDataPreprocessor', mean=mean, std=std)
    return Config(
        dict(
            model=dict(
                type='Recognizer3D',
                backbone=backbone or dict(type='ATAConvNeXt', pretrained='x'),
                data_preprocessor=pixels,
                **model,
            )
        )
    )


def fault(cfg):
    return preprocessing_fault(cfg, expected_statistics(cfg))


def test_the_right_statistics_are_no_fault():
    assert fault(config(*IMAGENET)) is None
    assert fault(config([123.7, 116.3, 103.5], [58.4, 57.1, 57.4])) is None


def test_no_statistics_are_a_fault_that_names_the_right_ones():
    assert 'got none' in fault(config())
    assert 'mean=[123.675, 116.28, 103.53]' in fault(config())
    assert "format_shape='NCTHW'" in fault(config())


@pytest.mark.parametrize(
    'mean, std', [HALF, ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
)
def test_other_statistics_are_a_fault(mean, std):
    assert 'published weights of ATAConvNeXt' in fault(config(mean, std))


def test_any_statistics_fit_weights_that_start_at_random():
    backbone = dict(type='ATAConvNeXt', pretrained=None)
    assert fault(config(*HALF, backbone=backbone)) is None
    assert 'got none' in fault(config(backbone=backbone))


def test_those_of_timm_are_known():
    pytest.importorskip('timm')
    image = dict(type='timm.tf_efficientnet_lite0', pretrained=True)
    backbone = dict(type='ATABackbone', image_backbone=image)
    assert "timm's pretrained_cfg" in fault(config(*IMAGENET, backbone))
    assert fault(config(*HALF, backbone)) is None


@pytest.mark.parametrize('image', ['timm.resnet18', [dict(type='ResNet')]])
def test_an_image_backbone_that_is_no_dict_is_left_to_the_builder(image):
    backbone = dict(type='ATABackbone', image_backbone=image)
    assert fault(config(*HALF, backbone)) is None


def test_weights_to_start_from_count_too():
    cfg = config(*IMAGENET, backbone=dict(type='ATATimeSformer'))
    found = expected_statistics(cfg, 'timesformer_divST_8xb8.pth')
    assert (found.mean, found.std) == HALF
    assert 'timesformer_divST_8xb8.pth' in preprocessing_fault(cfg, found)


def test_models_of_other_inputs_are_left_alone():
    cfg = config()
    steps = [dict(type='PoseDecode')]
    cfg.train_dataloader = dict(dataset=dict(pipeline=steps))
    assert fault(cfg) is None
    cfg = config()
    cfg.model.type = 'RecognizerGCN'
    assert fault(cfg) is None


def test_statistics_of_a_checkpoint_are_read_and_its_config_not_run():
    cfg = config(*HALF)
    found = saved_statistics(dict(cfg=f'raise OSError\n{cfg.pretty_text}'))
    assert isinstance(found, Statistics)
    assert (tuple(found.mean), tuple(found.std)) == HALF


def test_statistics_of_a_converted_checkpoint_are_read():
    mean, std = HALF
    found = saved_statistics(dict(data_preprocessor=dict(mean=mean, std=std)))
    assert found == Statistics(mean, std, 'the checkpoint')


@pytest.mark.parametrize(
    'meta',
    [
        {},
        dict(cfg='model = dict()'),
        dict(data_preprocessor=dict(mean=None, std=None)),
        dict(cfg='Config (path: a.py): {}'),
        dict(cfg='dict(data_preprocessor=dict(mean=3 * [1], std=3 * [1]))'),
    ],
)
def test_a_checkpoint_may_have_none(meta):
    assert saved_statistics(meta) is None
