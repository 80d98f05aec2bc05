# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Data loaders that can be resumed and whose workers end on an error."""

import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.queues import Queue
from typing import Any

from torch.utils.data import BatchSampler, DataLoader

from .random_state import SeededBatchSampler

# Exit status of such a worker: EX_IOERR of sysexits.h.
CANNOT_SEND = 74
_SHARED_MEMORY = '/dev/shm'


def make_resumable(loader: DataLoader, seed: int | None) -> None:
    """Make the samples of a loader a function of the seed and the position.

    Also lets a worker end on an error that would leave the main process
    waiting, such as a lack of shared memory.

    Args:
        loader (DataLoader): A loader that has not been iterated over, changed
            in place.
        seed (int, optional): Seed of the run; None to leave the order and the
            random numbers as they are.
    """
    if seed is not None and isinstance(loader.batch_sampler, BatchSampler):
        # DataLoader guards the attribute against changes after workers have
        # started. Passed to its constructor, loader.sampler and
        # loader.batch_size, which hooks read, would be lost.
        sampler = SeededBatchSampler(loader.batch_sampler, seed)
        object.__setattr__(loader, 'batch_sampler', sampler)
    loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn)


def _start_worker(init: Callable | None, worker: int) -> None:
    # Otherwise the thread that sends batches to the main process prints the
    # error, drops the batch, and goes on: the main process waits for ever.
    queue: Any = Queue
    queue._on_queue_feeder_error = staticmethod(_end_worker)
    if init is not None:
        init(worker)


def _end_worker(error: BaseException, batch: Any) -> None:
    hint = ''
    if os.path.isdir(_SHARED_MEMORY):
        total, _, free = shutil.disk_usage(_SHARED_MEMORY)
        hint = (
            f' {_SHARED_MEMORY} has {free >> 20} of {total >> 20} MB free. If '
            'that is too little for the batches that are loaded ahead, lower '
            'num_workers, batch_size or prefetch_factor, or enlarge it '
            '(docker run --shm-size=8g).'
        )
    print(
        'error: a data loading worker cannot send its batch: '
        f'{type(error).__name__}: {error}.{hint}',
        file=sys.stderr,
        flush=True,
    )
    os._exit(CANNOT_SEND)
