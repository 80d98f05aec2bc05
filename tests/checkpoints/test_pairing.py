# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.models import ResNet
from torch import nn

from ata_mm.checkpoints import load_pretrained
from tests.checkpoints.toys import Video, randomized


def renamed(model, prefix):
    """Random weights of a model under names that no layout has."""
    state = randomized(model.state_dict())
    return {
        f'{prefix}{i}.{key.rsplit(".", 1)[1]}': value
        for i, (key, value) in enumerate(state.items())
        if not key.endswith('num_batches_tracked')
    }


def test_weights_under_other_names_are_paired_by_order_and_shape():
    model = Video(ResNet(18))
    source = renamed(model.image, 'layer_')
    report = load_pretrained(model, source)
    own = [
        value
        for key, value in model.image.state_dict().items()
        if not key.endswith('num_batches_tracked')
    ]
    for value, other in zip(own, source.values()):
        assert torch.equal(value, other)
    assert report.paired[0] == 'layer_0 = conv1.conv'
    assert 'paired by order and shape' in str(report)


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda keys: keys.popitem(), 'got 99 tensors for 100'),
        (
            lambda keys: keys.update({next(iter(keys)): torch.zeros(2)}),
            r'at the place of conv1.conv.weight \(64, 3, 7, 7\)',
        ),
    ],
)
def test_other_shapes_are_not_paired(change, message):
    model = Video(ResNet(18))
    source = renamed(model.image, 'layer_')
    change(source)
    with pytest.raises(ValueError, match=message):
        load_pretrained(model, source)


def test_names_that_end_otherwise_are_not_paired():
    model = Video(ResNet(18))
    source = renamed(model.image, 'layer_')
    keys = list(source)
    keys[1:3] = keys[2], keys[1]  # weight and bias of bn1, of one shape
    with pytest.raises(ValueError, match='layer_2.bias .* conv1.bn.weight'):
        load_pretrained(model, {key: source[key] for key in keys})


def test_keys_in_the_order_of_the_alphabet_are_not_paired():
    model = Video(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)))
    source = {name: torch.zeros(8, 8) for name in ('key', 'query')}
    model.image[0].bias = model.image[1].bias = None
    with pytest.raises(ValueError, match='order of the alphabet'):
        load_pretrained(model, source)
