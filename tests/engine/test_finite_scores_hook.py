# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.structures import ActionDataSample

from ata_mm.engine import FiniteScoresHook

HOOK = FiniteScoresHook()


def sample(*scores):
    return ActionDataSample().set_pred_score(torch.tensor(scores))


@pytest.mark.parametrize('number', [float('nan'), float('inf')])
@pytest.mark.parametrize('when', ['after_test_iter', 'after_val_iter'])
def test_a_score_that_is_not_finite_is_an_error(when, number):
    outputs = [sample(0.5, 0.5), sample(0.5, number)]
    with pytest.raises(ValueError, match='finite'):
        getattr(HOOK, when)(None, 7, outputs=outputs)


@pytest.mark.parametrize(
    'outputs', [[sample(0.5)], [ActionDataSample()], [{}], []]
)
def test_other_batches_pass(outputs):
    HOOK.after_test_iter(None, 0, outputs=outputs)


def test_an_accuracy_of_nothing_is_an_error():
    with pytest.raises(ValueError, match='Expected a finite acc/mean1'):
        HOOK.after_test_epoch(None, {'acc/mean1': float('nan')})


def test_an_accuracy_that_is_unknown_does_not_hide_the_others():
    metrics = {
        'acc/mean_average_precision': 0.5,
        'acc/mmit_mean_average_precision': float('nan'),
    }
    with pytest.raises(ValueError, match='a label of every sample.*: 0.5'):
        HOOK.after_test_epoch(None, metrics)


def test_other_metrics_may_be_unknown():
    HOOK.after_test_epoch(None, {'acc/top1': 0.5, 'acc/fast': float('nan')})
