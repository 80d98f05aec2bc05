# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import ata_mm  # noqa: F401

import pytest
import torch
from mmaction.models import Recognizer2D
from mmaction.registry import MODELS
from torch import nn

from ata_mm.compat import recognizer2d_neck


class AddOne(nn.Module):
    """A neck that keeps frames, or averages them to one map per video."""

    num_segments = 3

    def __init__(self, keeps_frames=True):
        super().__init__()
        self.keeps_frames = keeps_frames

    def forward(self, x, data_samples=None):
        x = x[-1] + 1
        return x if self.keeps_frames else x.mean(2, keepdim=True), {}


def build(neck, test_cfg=None, **backbone):
    model = MODELS.build(
        dict(
            type='Recognizer2D',
            backbone=dict(type='ResNet', depth=18, **backbone),
            cls_head=dict(type='TSNHead', num_classes=5, in_channels=512),
            test_cfg=test_cfg,
        )
    ).eval()
    model.neck = neck
    return model


@pytest.fixture
def inputs():
    return torch.randn(2, 6, 3, 32, 32)


@pytest.mark.parametrize('stages', [(3,), (2, 3)])
def test_head_gets_the_output_of_the_neck_for_each_frame(stages, inputs):
    model = build(AddOne(), out_indices=stages)
    maps, _ = model.extract_feat(inputs, 'backbone')
    x, options = model.extract_feat(inputs)
    last = maps if len(stages) == 1 else maps[-1]
    assert torch.equal(x, last + 1)
    assert options == dict(num_segs=6, loss_aux={})


def test_stock_method_mistakes_images_for_stages(inputs):
    model = build(AddOne())
    with pytest.raises(RuntimeError, match='invalid for input of size 512'):
        Recognizer2D.extract_feat.__wrapped__(model, inputs)


def test_recognizer_computes_scores(inputs):
    assert build(AddOne())(inputs, stage='head').shape == (2, 5)


def test_other_necks_are_not_affected(inputs):
    model = build(AddOne(keeps_frames=False), out_indices=(2, 3))
    x, options = model.extract_feat(inputs)
    assert x.shape == (2, 512, 1, 1) and options['num_segs'] == 1


def test_recognizers_without_neck_are_not_affected(inputs):
    x, options = build(None).extract_feat(inputs, test_mode=True)
    assert x.shape == (12, 512, 1, 1)
    assert options == dict(num_segs=6, fcn_test=False, loss_aux={})


@pytest.mark.parametrize(
    'test_cfg', [dict(fcn_test=True), dict(max_testing_views=3)]
)
def test_unsupported_test_options_are_an_error(test_cfg, inputs):
    model = build(AddOne(), test_cfg)
    with pytest.raises(ValueError, match=f'without {list(test_cfg)[0]}'):
        model.extract_feat(inputs, test_mode=True)


def test_a_neck_without_a_number_of_frames_is_an_error(inputs):
    neck = AddOne()
    neck.num_segments = None
    with pytest.raises(ValueError, match='num_segments, got None'):
        build(neck).extract_feat(inputs)


def test_second_call_changes_nothing():
    before = Recognizer2D.extract_feat
    recognizer2d_neck.apply()
    assert not recognizer2d_neck.needed()
    assert Recognizer2D.extract_feat is before
