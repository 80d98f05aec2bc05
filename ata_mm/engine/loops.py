# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Training loops that continue within an epoch."""

import logging
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any

from mmaction.registry import LOOPS
from mmengine.dataset import InfiniteSampler
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator
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
        dataloader: DataLoader | dict,
        *args: object,
        **kwargs: object,
    ) -> None:
        loader: DataLoader
        if isinstance(dataloader, DataLoader):
            loader = dataloader
        else:
            loader = runner.build_dataloader(
                dataloader,
                seed=runner.seed,
                diff_rank_seed=runner._randomness_cfg.get(
                    'diff_rank_seed', False
                ),
            )
        # mmengine starts to load in its constructor, before it knows where,
        # and before hooks have seen the loader.
        super().__init__(runner, _Unstarted(loader), *args, **kwargs)
        self.dataloader: DataLoader = loader
        self.dataloader_iterator: Any = _Batches(self)

    @property
    def validation_due(self) -> bool:
        """Whether validation follows the iterations done."""
        self._decide_current_val_interval()
        return _due(self, self.iter, self.max_iters)


class _Unstarted:
    """Stand-in for a loader that starts no workers."""

    def __init__(self, loader: DataLoader) -> None:
        self.dataset = loader.dataset

    def __iter__(self) -> Iterator:
        return iter(())


class _Batches:
    """Endless batches from the position of a loop on.

    The loop drops as many batches as iterations are done: these are None.
    """

    def __init__(self, loop: ResumableIterLoop) -> None:
        self._loop = loop
        self._iterator: Iterator | None = None

    def __next__(self) -> Any:
        if self._iterator is None:
            self._iterator = self._start()
        return next(self._iterator)

    def _start(self) -> Iterator:
        loader, done = self._loop.dataloader, self._loop.iter
        sampler = loader.batch_sampler
        if not done or not isinstance(sampler, SeededBatchSampler):
            return _InfiniteDataloaderIterator(loader)
        passes = _forward(sampler, done)
        batches = _InfiniteDataloaderIterator(loader)
        batches._epoch = passes
        return chain(repeat(None, done), batches)


def _due(
    loop: EpochBasedTrainLoop | IterBasedTrainLoop, done: int, last: int
) -> bool:
    return (
        loop.runner.val_loop is not None
        and done >= loop.val_begin
        and (done % loop.val_interval == 0 or done == last)
    )


def _forward(sampler: SeededBatchSampler, batches: int) -> int:
    """Move a sampler forward, and return the number of passes done."""
    inner = sampler.sampler
    if isinstance(inner, InfiniteSampler):
        sampler.skip = batches
        return 0
    sampler.epoch, sampler.skip = divmod(batches, len(sampler))
    if hasattr(inner, 'set_epoch'):
        inner.set_epoch(sampler.epoch)
    return sampler.epoch
