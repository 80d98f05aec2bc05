# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Data loader that survives the death of its workers."""

import copy
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, NoReturn

from mmengine.logging import print_log
from torch.utils.data import DataLoader

from ata_mm.video import VideoError
from ata_mm.video.reader import KILLED, killed, stopped_decoder, too_slow

from .bad_videos import (
    SKIPPED,
    TOO_SLOW,
    BadVideoError,
    Journal,
    TooManyBadVideosError,
)
from .data_loading import CANNOT_SEND


class GuardedLoader:
    """Data loader whose dead workers name the video that they were reading.

    In training, the video is skipped from then on: the workers are started
    again with the batches that were not yet delivered. In validation and
    test, an error names it.

    Args:
        loader (DataLoader): The loader.
        journal (Journal): That of the loader's pipelines.
        skip (bool): Whether to go on without the video.
    """

    def __init__(
        self, loader: DataLoader, journal: Journal, skip: bool
    ) -> None:
        self.loader = loader
        self.journal = journal
        self.skip = skip
        assert loader.batch_sampler is not None  # mmengine builds one
        self._batches = _Batches(loader.batch_sampler)
        self._guarded = _copy(loader, self._batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)  # dataset, sampler, …

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of an epoch."""
        self._batches.start()
        batches = self._begin()
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except TooManyBadVideosError:
                # That of a worker has a traceback in its message.
                self.journal.update()
                self.journal.check_limit()
                raise
            except (RuntimeError, OSError, EOFError) as error:
                if not isinstance(error, RuntimeError):
                    time.sleep(1)  # a connection breaks before its end ends
                self._note_death(batches, error)
                batches = self._begin()
                continue
            self._batches.deliver()
            yield batch

    def _begin(self) -> Iterator[Any]:
        batches = iter(self._guarded)
        in_main = threading.current_thread() is threading.main_thread()
        if self._guarded.num_workers and in_main:
            # torch raises from this signal, wherever the main thread is. It
            # notices the death of a worker without it, within 5 s.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return batches

    def _note_death(self, batches: Any, error: Exception) -> None:
        """Note the video that killed a worker, or raise the error again."""
        fault = self._fault(batches)
        if fault is None:
            self._raise_noted(error)
        if not self.skip:
            raise fault from error
        self.journal.add(SKIPPED, fault.video, str(fault))
        self.journal.check_limit()
        print_log(
            f'A data loader worker died. {fault} It is skipped from now on; '
            'all workers start again.',
            logger='current',
            level=logging.WARNING,
        )
        batches._shutdown_workers()
        self._guarded._iterator = None  # of persistent workers

    def _raise_noted(self, error: Exception) -> NoReturn:
        """Raise the error of a worker, in one sentence if it is of a video."""
        self.journal.update()
        skipped = [] if self.skip else self.journal.skipped()
        if skipped:
            raise BadVideoError(skipped[0].reason) from error
        raise error

    def _fault(self, batches: Any) -> VideoError | None:
        """Return what a dead worker was reading, and its end.

        Raises:
            VideoError: If it was killed from outside.
        """
        for index, worker in enumerate(getattr(batches, '_workers', ())):
            code = worker.exitcode
            if code in (None, 0, CANNOT_SEND):  # not by a video
                continue
            video = self.journal.last_read(index)
            if not video:
                continue
            if code in KILLED:
                raise killed(video, code)
            if code == TOO_SLOW:
                return too_slow(video, self.journal.time_limit)
            return stopped_decoder(video, code)
        return None


class _Batches:
    """Batch sampler that repeats what was not yet delivered.

    Args:
        sampler (Iterable[list[int]]): The batches of an epoch.
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler
        self._rest: Iterator[list[int]] = iter(())
        self._pending: deque[list[int]] = deque()

    def start(self) -> None:
        """Start an epoch."""
        self._pending.clear()
        self._rest = iter(self.sampler)

    def deliver(self) -> None:
        """Note that the first batch was delivered."""
        self._pending.popleft()

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[list[int]]:
        yield from list(self._pending)
        for batch in self._rest:
            self._pending.append(batch)
            yield batch


def _copy(loader: DataLoader, batches: _Batches) -> DataLoader:
    """Return a loader of other batches with the same options.

    Raises:
        ValueError: If the order of its batches is not that of its sampler.
    """
    if not getattr(loader, 'in_order', True):  # torch 2.6 has it
        raise ValueError(
            'Expected a data loader with in_order=True, to know which batches '
            'are left when a worker dies, got in_order=False. Remove it from '
            'the config.'
        )
    clone = copy.copy(loader)
    # DataLoader guards the attribute against changes after workers have
    # started.
    object.__setattr__(clone, 'batch_sampler', batches)
    return clone
