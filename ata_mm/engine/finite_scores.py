# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Refuse scores that are not finite."""

from typing import Any, Sequence

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor


@HOOKS.register_module()
class FiniteScoresHook(Hook):
    """Hook that ends a test or validation at a score of NaN or infinity.

    NaN is the highest score for ``argmax``: metrics would count it as a
    prediction and return an accuracy.
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
            ValueError: If a score is NaN or infinite.
        """
        for sample in outputs or ():
            scores = sample.get('pred_score')
            if isinstance(scores, Tensor) and not scores.isfinite().all():
                raise ValueError(
                    'Expected finite scores, got NaN or infinity in batch '
                    f'{batch_idx}. Check data_preprocessor in the config, and '
                    'that the checkpoint is not from a diverging training.'
                )

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence = (),
    ) -> None:
        """Validate the scores of a validation batch as those of a test."""
        self.after_test_iter(runner, batch_idx, data_batch, outputs)
