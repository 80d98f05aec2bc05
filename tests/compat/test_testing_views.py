# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import ata_mm  # noqa: F401

import pytest
import torch
from mmaction.models import Recognizer3D
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from torch import nn

from ata_mm.compat import testing_views


class Backbone(nn.Conv3d):
    """A backbone that records the number of views of each call."""

    def __init__(self, stages=1):
        super().__init__(3, 8, 3)
        self.stages = stages
        self.views = []

    def forward(self, x):
        self.views.append(len(x))
        x = super().forward(x)
        return x if self.stages == 1 else (x,) * self.stages


def build(max_testing_views=None, **backbone):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='Recognizer3D',
            backbone=dict(type=Backbone, **backbone),
            cls_head=dict(
                type='I3DHead',
                num_classes=5,
                in_channels=8,
                average_clips='prob',
            ),
            test_cfg=dict(max_testing_views=max_testing_views),
        )
    )
    return model.eval()


def scores(model, inputs):
    samples = [ActionDataSample() for _ in inputs]
    with torch.no_grad():
        samples = model.predict(inputs, samples)
    return torch.stack([sample.pred_score for sample in samples])


@pytest.fixture
def inputs():
    """Two videos of three views."""
    torch.manual_seed(1)
    return torch.randn(2, 3, 3, 4, 8, 8)


@pytest.mark.parametrize('at_once', [1, 2, 3, 4, 7])
def test_scores_are_those_of_all_views_at_once(at_once, inputs):
    torch.testing.assert_close(
        scores(build(at_once), inputs), scores(build(), inputs)
    )


@pytest.mark.parametrize('stages', [1, 2])
def test_backbone_gets_no_more_views_than_allowed(stages, inputs):
    model = build(4, stages=stages)
    model.extract_feat(inputs, test_mode=True)
    assert model.backbone.views == [4, 2]


def test_training_is_not_affected(inputs):
    model = build(4)
    model.extract_feat(inputs)
    assert model.backbone.views == [6]


def test_stock_method_accepts_one_video_only(inputs):
    with pytest.raises(AssertionError, match='only compatible'):
        Recognizer3D.extract_feat.__wrapped__(build(4), inputs, test_mode=True)


def test_second_call_changes_nothing():
    before = Recognizer3D.extract_feat
    testing_views.apply()
    assert not testing_views.needed()
    assert Recognizer3D.extract_feat is before
