# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch
from mmaction.evaluation import AccMetric
from mmaction.models.heads import TimeSformerHead
from mmaction.structures import ActionDataSample

from ata_mm.compat import multilabel_scores


def predict(features, videos, **options):
    """Scores of a head that returns its features."""
    head = TimeSformerHead(3, 3, average_clips='prob', **options)
    torch.nn.init.eye_(head.fc_cls.weight)
    torch.nn.init.zeros_(head.fc_cls.bias)
    samples = [ActionDataSample() for _ in range(videos)]
    with torch.no_grad():
        found = head.predict(features, samples)
    return torch.stack([sample.pred_score for sample in found])


def test_labels_do_not_compete():
    scores = predict(torch.full((1, 3), 4.0), 1, multi_class=True)
    torch.testing.assert_close(scores, torch.full((1, 3), 0.98201379))


def test_views_are_averaged():
    features = torch.randn(6, 3)  # 2 videos of 3 views
    scores = predict(features, 2, multi_class=True)
    torch.testing.assert_close(
        scores, features.sigmoid().view(2, 3, 3).mean(1)
    )


def test_one_label_has_the_softmax():
    features = torch.randn(2, 3)
    torch.testing.assert_close(predict(features, 2), features.softmax(1))


@pytest.mark.parametrize('flip', [False, True])
def test_mean_average_precision_ranks_the_videos(flip):
    """A video sure of all labels ranks above one that is sure of none."""
    features = torch.tensor([[5.0, 5, 5], [-5, -5, -5]])
    scores = predict(features, 2, multi_class=True)
    labels = torch.tensor([[1.0, 1, 1], [0, 0, 0]])
    metric = AccMetric(metric_list=('mean_average_precision',))
    metric.process(
        None,
        [
            dict(pred_score=score, gt_label=label)
            for score, label in zip(scores, labels.flip(0) if flip else labels)
        ],
    )
    result = metric.compute_metrics(metric.results)
    assert result['mean_average_precision'] == pytest.approx(1 - 0.5 * flip)
    assert np.isfinite(result['mean_average_precision'])


def test_second_call_changes_nothing():
    assert not multilabel_scores.needed()
    multilabel_scores.apply()
    scores = predict(torch.zeros(1, 3), 1, multi_class=True)
    torch.testing.assert_close(scores, torch.full((1, 3), 0.5))
