# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.checkpoints import convert_checkpoint, load_pretrained
from tests.checkpoints.test_loading import (
    image_vit,
    mmpretrain_vit,
    official,
    recognizer,
)


@pytest.mark.parametrize('source', [official, image_vit, mmpretrain_vit])
@pytest.mark.parametrize('known', [False, True], ids=['alone', 'for a model'])
def test_loads_as_the_source_does(source, known):
    source, ours, peer = source(), recognizer(), recognizer()
    converted, _ = convert_checkpoint(source, recognizer() if known else None)
    load_pretrained(ours, converted)
    load_pretrained(peer, source)
    for key, value in ours.backbone.state_dict().items():
        assert torch.equal(value, peer.backbone.state_dict()[key])


def test_keys_are_those_of_a_recognizer():
    model = recognizer()
    converted, report = convert_checkpoint(official(), model)
    assert converted.keys() == model.state_dict().keys()
    assert report.head == 'loaded, 5 classes'


def test_sizes_are_kept_without_a_model():
    converted, report = convert_checkpoint(official(num_classes=9))
    assert converted['cls_head.fc_cls.weight'].shape == (9, 24)
    assert report.head == 'kept, 9 classes'


def test_embeddings_are_fitted_to_a_model():
    model = recognizer(img_size=48, num_frames=8)
    converted, report = convert_checkpoint(official(), model)
    assert converted['backbone.time_embed'].shape[1] == 8
    assert sorted(report.interpolated) == ['pos_embed', 'time_embed']


def test_what_the_model_would_leave_at_random_is_left_out():
    converted, report = convert_checkpoint(official(), recognizer(7))
    assert not any(key.startswith('cls_head.') for key in converted)
    assert report.head.startswith('left as initialised (7 classes here')


def test_head_that_is_no_classifier_is_reported():
    _, report = convert_checkpoint(image_vit())
    assert report.dropped == ['pre_logits.fc.weight']


def test_unknown_image_model_needs_a_config():
    with pytest.raises(ValueError, match='config of its ATABackbone'):
        convert_checkpoint({'layer1.0.conv1.weight': torch.ones(1)})
