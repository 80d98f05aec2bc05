# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Hook that skips and reports the bad videos of a training."""

import logging
import os.path as osp
from collections import Counter
from collections.abc import Iterator
from typing import Any

from mmaction.datasets import RepeatAugDataset
from mmaction.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator

from .bad_videos import (
    SHORT,
    SKIPPED,
    Journal,
    Note,
    NotingPipeline,
    RepeatPipeline,
)
from .guarded_loader import GuardedLoader

_SHOWN = 20  # notes of a kind in the log; all are in the file


@HOOKS.register_module()
class BadVideoHook(Hook):
    """Hook that skips bad videos in training, and counts and names them.

    A video that cannot be read is skipped: the data set takes another one. A
    video that kills a data loader worker or is not read in time is skipped
    from then on, too. Videos shorter than a clip are named, and used. All are
    listed in ``bad_videos.jsonl`` beside the log, and in the log at the end.
    In validation and test, the first bad video ends the run with its name.

    ``tools/train.py`` and ``tools/test.py`` add this hook to every config.

    Args:
        limit (float): Share of the training samples that may be skipped, in
            0..1; one is always allowed unless it is 0. Defaults to 0.01.
        time_limit (float): Seconds to read one video. Defaults to 300.

    Raises:
        ValueError: If ``limit`` or ``time_limit`` is out of range.
    """

    def __init__(self, limit: float = 0.01, time_limit: float = 300.0) -> None:
        if not 0 <= limit <= 1 or time_limit <= 0:
            raise ValueError(
                'Expected a limit in 0..1 and a positive time_limit, got '
                f'{limit} and {time_limit}.'
            )
        self.limit = limit
        self.time_limit = time_limit
        self._journal: Journal | None = None
        self._logged: Counter = Counter()  # notes by their kind

    def before_train(self, runner: Runner) -> None:
        """Guard the training data."""
        loop = runner.train_loop
        number = len(loop.dataloader.dataset)
        allowed = max(int(self.limit > 0), int(self.limit * number))
        path = osp.join(runner.log_dir, 'bad_videos.jsonl')
        loop.dataloader = self._guard(loop.dataloader, path, allowed, True)
        self._journal = loop.dataloader.journal
        iterator = getattr(loop, 'dataloader_iterator', None)
        # That of IterBasedTrainLoop. A resumable loop makes its own later.
        if isinstance(iterator, _InfiniteDataloaderIterator):
            loop.dataloader_iterator = _InfiniteDataloaderIterator(
                loop.dataloader
            )

    def before_val(self, runner: Runner) -> None:
        """Guard the validation data."""
        self._guard_loop(runner, runner.val_loop, 'val')

    def before_test(self, runner: Runner) -> None:
        """Guard the test data."""
        self._guard_loop(runner, runner.test_loop, 'test')

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Log new bad videos, and stop if there are too many.

        Raises:
            TooManyBadVideosError: If more than the limit are skipped.
        """
        assert self._journal is not None
        fresh = self._journal.update()
        if fresh:
            self._log(fresh)
            self._journal.check_limit()

    def after_train(self, runner: Runner) -> None:
        """Log the number of bad videos."""
        assert self._journal is not None
        self._journal.update()
        notes = list(self._journal.notes.values())
        for kind in (SKIPPED, SHORT):
            found = [note for note in notes if note.kind == kind]
            if found and is_main_process():
                lines = '\n  '.join(note.reason for note in found[:_SHOWN])
                print_log(
                    f'{len(found)} {_TITLES[kind]}, listed in '
                    f'{self._journal.path}:\n  {lines}',
                    logger='current',
                    level=logging.WARNING,
                )

    def _guard_loop(self, runner: Runner, loop: Any, name: str) -> None:
        """Guard the data of a loop that no bad video may pass."""
        if not isinstance(loop.dataloader, GuardedLoader):
            path = osp.join(runner.log_dir, f'bad_videos_{name}.jsonl')
            loop.dataloader = self._guard(loop.dataloader, path, 0, False)

    def _guard(
        self, loader: Any, path: str, allowed: int, skip: bool
    ) -> GuardedLoader:
        journal = Journal(path, loader.num_workers, allowed, self.time_limit)
        for dataset in _leaves(loader.dataset):
            if isinstance(dataset, RepeatAugDataset):
                dataset.pipeline = RepeatPipeline(dataset, journal, skip)
                dataset.prepare_data = dataset.pipeline.prepare_data
            else:
                dataset.pipeline = NotingPipeline(
                    dataset.pipeline.transforms, journal, skip
                )
        return GuardedLoader(loader, journal, skip)

    def _log(self, notes: list[Note]) -> None:
        """Log notes while there are few."""
        for note in notes:
            self._logged[note.kind] += 1
            if self._logged[note.kind] <= _SHOWN and is_main_process():
                print_log(
                    f'{note.kind}: {note.reason}',
                    logger='current',
                    level=logging.WARNING,
                )


_TITLES = {
    SKIPPED: 'videos were skipped',
    SHORT: 'videos are shorter than a clip',
}


def _leaves(dataset: Any) -> Iterator[Any]:
    """Yield the data sets with a pipeline, inside of wrappers."""
    # That of num_batch_per_epoch passes reads on to its data set, not writes.
    dataset = getattr(dataset, '_dataset', dataset)
    inner = getattr(dataset, 'datasets', None)
    if inner is None:
        inner = [dataset.dataset] if hasattr(dataset, 'dataset') else []
    if not inner and hasattr(dataset, 'pipeline'):
        yield dataset
    for part in inner:
        yield from _leaves(part)
