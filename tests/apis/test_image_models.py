# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import json

import pytest

from ata_mm.apis.image_models import (
    HALF,
    IMAGENET,
    image_model,
    image_model_names,
    statistics_of_file,
)

MODELS = {
    'timm.tf_efficientnet_lite0': HALF,
    'timm.resnet18': IMAGENET,
    'torchvision.resnet18': IMAGENET,
    'mmpretrain.resnet50_8xb32_in1k': IMAGENET,
    'mmpretrain.mlp-mixer-base-p16_3rdparty_64xb64_in1k': HALF,
}


@pytest.mark.parametrize('name', MODELS)
def test_packages_state_what_their_models_expect(name):
    pytest.importorskip(name.split('.')[0])
    found = image_model(name)
    assert (found.statistics.mean, found.statistics.std) == MODELS[name]
    assert found.size == 224 and found.weights.startswith('https://')


def test_a_model_of_mmpretrain_returns_its_map():
    pytest.importorskip('mmpretrain')
    found = image_model('mmpretrain.convnext-tiny_32xb128_in1k').config
    assert found['type'] == 'mmpretrain.ConvNeXt'
    assert found['gap_before_final_norm'] is False


@pytest.mark.parametrize('name', ['timm.nothing', 'nothing.x', 'resnet'])
def test_unknown_names_are_no_models(name):
    assert image_model(name) is None


def test_names_are_those_that_are_looked_up():
    pytest.importorskip('timm')
    names = image_model_names()
    assert 'timm.resnet18' in names
    assert image_model(names[-1]) is not None


@pytest.mark.parametrize(
    'path, expected',
    [
        ('https://a.b/jx_vit_base_patch16_224_in21k-e5005f0a.pth', HALF),
        ('models/convnext_base_22k_224.pth', IMAGENET),
        ('torchvision://resnet50', IMAGENET),
    ],
)
def test_some_files_are_known_by_name(path, expected):
    found = statistics_of_file(path)
    assert (found.mean, found.std) == expected


def test_other_files_are_not_known():
    assert statistics_of_file('weights.pth') is None


@pytest.mark.parametrize(
    'name, content',
    [
        ('config.json', {'pretrained_cfg': {'mean': [0.5], 'std': [0.5]}}),
        (
            'preprocessor_config.json',
            {'image_mean': [0.5], 'image_std': [0.5]},
        ),
    ],
)
def test_folders_of_huggingface_state_theirs(tmp_path, name, content):
    (tmp_path / name).write_text(json.dumps(content))
    found = statistics_of_file(str(tmp_path))
    assert (found.mean, found.std) == ((127.5,), (127.5,))
    assert found.source.endswith(name)


def test_an_unknown_tag_of_timm_is_named():
    pytest.importorskip('timm')
    with pytest.raises(ValueError, match=r'weights.*Known are: resnet18\.'):
        image_model('timm.resnet18.nothing')
