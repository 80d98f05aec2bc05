# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.

import pytest
import torch
from mmengine.evaluator import Evaluator

from ata_mm.evaluation import AccuracyBySpeed

RANGES = dict(slow=(1.0, 2.0), fast=(2.0, 3.0))


def sample(score, label, speed):
    return dict(
        pred_score=torch.tensor(score),
        gt_label=torch.tensor([label]),
        speed=speed,
    )


RIGHT, WRONG = ([0.1, 0.9], 1), ([0.9, 0.1], 1)


def accuracies(*batches):
    metric = AccuracyBySpeed(
        RANGES, metric_options=dict(top_k_accuracy=dict(topk=(1,)))
    )
    for batch in batches:
        metric.process(None, batch)
    return metric.evaluate(sum(map(len, batches)))


@pytest.fixture(scope='module')
def measured():
    first = [sample(*RIGHT, 1.0), sample(*WRONG, 1.9), sample(*RIGHT, 2.0)]
    return accuracies(first, [sample(*WRONG, 1.5)])


def test_each_range_has_the_accuracy_of_its_videos(measured):
    assert measured['acc/slow'] == pytest.approx(1 / 3)
    assert measured['acc/fast'] == 1


def test_accuracy_of_all_videos_stands_beside_it(measured):
    assert measured['acc/top1'] == 0.5


def test_a_range_without_videos_has_no_accuracy():
    assert 'acc/fast' not in accuracies([sample(*RIGHT, 1.0)])


def test_a_config_builds_it():
    evaluator = Evaluator(dict(type='AccuracyBySpeed', ranges=RANGES))
    assert type(evaluator.metrics[0]) is AccuracyBySpeed
