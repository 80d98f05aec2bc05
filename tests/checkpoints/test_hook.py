# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import logging
from types import SimpleNamespace

import pytest
import torch

from ata_mm.checkpoints import AdaptCheckpointHook
from tests.checkpoints.test_loading import official, recognizer


def adapted(checkpoint, num_classes=5):
    runner = SimpleNamespace(
        model=recognizer(num_classes), logger=logging.getLogger('test'))
    AdaptCheckpointHook().after_load_checkpoint(runner, checkpoint)
    return runner.model, checkpoint


def test_official_checkpoint_loads_into_a_recognizer():
    source = official()
    model, checkpoint = adapted({'model_state': dict(source)})
    model.load_state_dict(checkpoint['state_dict'])
    assert torch.equal(model.backbone.norm.weight, source['model.norm.weight'])
    assert torch.equal(model.cls_head.fc_cls.bias, source['model.head.bias'])


def test_classifier_of_other_classes_is_left_out(caplog):
    _, checkpoint = adapted(official(), num_classes=7)
    assert 'cls_head.fc_cls.weight' not in checkpoint['state_dict']
    assert '7 classes here, 5 in the checkpoint' in caplog.text


def test_checkpoint_of_a_recognizer_passes_unchanged():
    state = recognizer().state_dict()
    _, checkpoint = adapted(dict(state_dict=state))
    assert checkpoint['state_dict'] is state
