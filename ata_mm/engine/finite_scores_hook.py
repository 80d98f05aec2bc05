# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Refuse scores that are not finite."""

import math
import re
from collections.abc import Sequence
from typing import Any

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor

from ata_mm.ops.validation import NotFiniteError

# Names of MMAction2's AccMetric; others may be unknown for some test sets.
_ACCURACY = re.compile(r'acc/(top\d+|mean1|(mmit_)?mean_average_precision)')


@HOOKS.register_module()
class FiniteScoresHook(Hook):
    """Hook that ends a test or validation at a score of NaN or infinity.

    NaN is the highest score for ``argmax``: metrics would count it as a
    prediction and return an accuracy. `ResumableRunner` has this hook.
    """

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence = (),
    ) -> None:
        """Validate the scores of a test batch.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Index of the batch.
            data_batch (dict, optional): The batch. Defaults to None.
            outputs (Sequence): Samples with their ``pred_score``.

        Raises:
            NotFiniteError: If a score is NaN or infinite.
        """
        if _has_bad_scores(outputs):
            raise NotFiniteError(
                'Expected finite scores, got NaN or infinity in batch '
                f'{batch_idx}. Check data_preprocessor in the config, and '
                'that the checkpoint is not from a diverging training.'
            )

    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Validate the accuracies of a test.

        Args:
            runner (Runner): The runner.
            metrics (dict, optional): Value by name. Defaults to None.

        Raises:
            ValueError: If one of MMAction2's accuracies is not finite.
        """
        for name, value in (metrics or {}).items():
            known = _ACCURACY.fullmatch(name)
            if known and not math.isfinite(value):
                needed = 'samples of at least one class'
                if 'mmit' in name:
                    needed = 'a label of every sample'
                raise ValueError(
                    f'Expected a finite {name}, which needs {needed}, got '
                    f'{metrics}.'
                )

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence = (),
    ) -> None:
        """Validate the scores of a validation batch.

        Raises:
            NotFiniteError: If a score is NaN or infinite.
        """
        if _has_bad_scores(outputs):
            raise NotFiniteError('scores are NaN or infinite')


def _has_bad_scores(outputs: Sequence | None) -> bool:
    for sample in outputs or ():
        if not isinstance(sample, BaseDataElement):
            continue  # of a task without scores
        scores = sample.get('pred_score')
        if isinstance(scores, Tensor) and not scores.isfinite().all():
            return True
    return False
