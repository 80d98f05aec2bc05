# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Training loops that continue within an epoch."""

import logging
from itertools import chain, repeat
from typing import Any, Sequence, Union

from mmaction.registry import LOOPS
from mmengine.dataset import InfiniteSampler
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from .random_state import SeededBatchSampler


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """Epoch-based loop that a checkpoint within an epoch resumes there.

    Args:
        See :class:`mmengine.runner.EpochBasedTrainLoop`.
    """

    _first = 0

    def start_at(self, batch: int, batches: int) -> None:
        """Start the first epoch at one of its batches.

        Args:
            batch (int): Number of batches of the epoch that are done.
            batches (int): Number of batches an epoch when it was counted.
        """
        sampler = self.dataloader.batch_sampler
        if not batch:
            return
        if batches == len(self.dataloader) and isinstance(
            sampler, SeededBatchSampler
        ):
            self._first = sampler.skip = batch
        else:
            print_log(
                f'Epoch {self.epoch + 1} starts from its beginning: the '
                f'checkpoint is of batch {batch} of {batches}, and an epoch '
                f'has {len(self.dataloader)} batches now.',
                logger='current',
                level=logging.WARNING,
            )

    def run_epoch(self) -> None:
        """Run the rest of the epoch."""
        super().run_epoch()
        self._first = 0

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Run one iteration.

        Args:
            idx (int): Number of the batch among those of this run.
            data_batch (Sequence[dict]): The batch.
        """
        super().run_iter(self._first + idx, data_batch)

    @property
    def validation_due(self) -> bool:
        """Whether validation follows the epochs done."""
        self._decide_current_val_interval()
        return _due(self, self.epoch, self.max_epochs)


@LOOPS.register_module()
class ResumableIterLoop(IterBasedTrainLoop):
    """Iteration-based loop that resumes without loading what was trained on.

    Args:
        See :class:`mmengine.runner.IterBasedTrainLoop`.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: Union[DataLoader, dict],
        *args: object,
        **kwargs: object,
    ) -> None:
        if isinstance(dataloader, dict):
            dataloader = runner.build_dataloader(
                dataloader,
                seed=runner.seed,
                diff_rank_seed=runner._randomness_cfg.get(
                    'diff_rank_seed', False
                ),
            )
        sampler = getattr(dataloader, 'batch_sampler', None)
        self._at_iter = isinstance(sampler, SeededBatchSampler)
        # Before mmengine starts to load, in its constructor.
        passes = 0
        if isinstance(sampler, SeededBatchSampler):
            passes = _forward(sampler, runner.resumed_iter)
        super().__init__(runner, dataloader, *args, **kwargs)
        self._batches = self.dataloader_iterator
        self._batches._epoch = passes

    def run(self) -> object:
        """Train; mmengine drops as many batches as iterations are done."""
        if self._at_iter:
            done = repeat(None, self.iter)
            self.dataloader_iterator: Any = chain(done, self._batches)
        return super().run()

    @property
    def validation_due(self) -> bool:
        """Whether validation follows the iterations done."""
        self._decide_current_val_interval()
        return _due(self, self.iter, self.max_iters)


def _due(
    loop: Union[EpochBasedTrainLoop, IterBasedTrainLoop], done: int, last: int
) -> bool:
    return (
        loop.runner.val_loop is not None
        and done >= loop.val_begin
        and (done % loop.val_interval == 0 or done == last)
    )


def _forward(sampler: SeededBatchSampler, batches: int) -> int:
    """Move a sampler forward, and return the number of passes done."""
    if not batches:
        return 0
    inner = sampler.sampler
    if isinstance(inner, InfiniteSampler):
        sampler.skip = batches
        return 0
    sampler.epoch, sampler.skip = divmod(batches, len(sampler))
    if hasattr(inner, 'set_epoch'):
        inner.set_epoch(sampler.epoch)
    return sampler.epoch
