# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from torch import nn

from ata_mm.checkpoints.heads import (
    backbone_keys,
    find_classifier,
    fit_classifier,
    split_head,
    unused_head,
)
from tests.checkpoints.toys import Video, recognizer, timesformer

CLASSIFIER = dict(weight=torch.ones(5, 24), bias=torch.ones(5))


@pytest.mark.parametrize(
    'prefix',
    [
        'module.',
        'model.',
        'backbone.',
        'timesformer.',
        'module.model.backbone.',
        '_orig_mod.',
        'module.backbone._orig_mod.',
    ],
)
def test_prefixes_of_wrappers_are_stripped(prefix):
    assert split_head({f'{prefix}norm.bias': 1}) == ({'norm.bias': 1}, {})


@pytest.mark.parametrize(
    'key',
    [
        'head.weight',
        'heads.0.bias',
        'cls_head.fc_cls.bias',
        'fc.weight',
        'neck.0.weight',
        'pre_logits.fc.bias',
        'head_dist.weight',
    ],
)
def test_head_and_neck_are_separated(key):
    assert split_head({f'module.{key}': 1}) == ({}, {key: 1})


def test_an_auxiliary_head_is_separated():
    backbone, head = split_head({'aux_head.weight': torch.ones(1)})
    assert not backbone and list(head) == ['aux_head.weight']


def test_a_norm_named_as_the_head_stays_with_the_backbone():
    assert split_head({'head.norm.weight': 1}) == ({'head.norm.weight': 1}, {})


def test_own_keys_are_neither_stripped_nor_separated():
    keys = {'model.head.weight': 1, 'head.weight': 2}
    assert split_head(keys, own=keys) == (keys, {})


def test_keys_of_a_backbone_include_those_of_its_image_model():
    model = Video(nn.Linear(2, 2))
    assert backbone_keys(model) >= {'image.weight', 'weight'}


@pytest.mark.parametrize(
    'layer', ['cls_head.fc_cls', 'head', 'head.fc', 'fc', 'classifier.3']
)
def test_classifier_is_found(layer):
    head = {f'{layer}.{k}': v for k, v in CLASSIFIER.items()}
    found = find_classifier({**head, 'neck.weight': torch.ones(1)})
    assert found == CLASSIFIER


def test_head_without_a_bias_is_no_classifier():
    assert find_classifier({'head.weight': CLASSIFIER['weight']}) == {}


@pytest.mark.parametrize(
    'build, classifier, reason',
    [
        (recognizer, CLASSIFIER, 'loaded, 5 classes'),
        (
            lambda: recognizer(7),
            {},
            'left as initialised (7 classes here, 5 in the checkpoint)',
        ),
        (
            timesformer,
            {},
            '5 classes in the checkpoint, not loaded into a backbone',
        ),
    ],
)
def test_classifier_is_used_if_it_fits(build, classifier, reason):
    head = {f'head.{k}': v for k, v in CLASSIFIER.items()}
    assert fit_classifier(head, build()) == (classifier, reason)


def test_classifier_of_other_channels_is_left_with_the_shapes():
    head = {'fc.weight': torch.ones(5, 32), 'fc.bias': torch.ones(5)}
    assert fit_classifier(head, recognizer()) == (
        {},
        'left as initialised (weights of shape (5, 24) here, (5, 32) in the '
        'checkpoint)',
    )


def test_keys_of_a_used_classifier_are_not_unused():
    head = {'head.weight': 1, 'head.bias': 2, 'pre_logits.fc.bias': 3}
    assert unused_head(head, CLASSIFIER) == ['pre_logits.fc.bias']
    assert unused_head(head, {}) == list(head)


def test_classifier_of_efficientnet_is_not_part_of_the_backbone():
    keys, head = split_head({'_fc.weight': 1, '_conv_head.weight': 2})
    assert list(keys) == ['_conv_head.weight'] and list(head) == ['_fc.weight']


def test_two_models_in_one_checkpoint_are_named():
    two = {'module.a': torch.zeros(2), 'model.a': torch.ones(2)}
    with pytest.raises(ValueError, match=r'got module\.a and model\.a,'):
        split_head(two)
    assert split_head({**two, 'model.a': torch.zeros(2)})[0].keys() == {'a'}


def test_the_classifier_of_the_recognizer_precedes():
    own = {f'cls_head.fc_cls.{k}': v for k, v in CLASSIFIER.items()}
    other = {f'fc.{k}': -v for k, v in CLASSIFIER.items()}
    for head in ({**own, **other}, {**other, **own}):
        assert all(
            torch.equal(value, CLASSIFIER[key])
            for key, value in find_classifier(head).items()
        )


@pytest.mark.parametrize('name', ['aux1', 'aux2', 'AuxLogits'])
def test_auxiliary_classifiers_of_torchvision_belong_to_the_head(name):
    assert split_head({f'{name}.fc.bias': 1}) == ({}, {f'{name}.fc.bias': 1})
