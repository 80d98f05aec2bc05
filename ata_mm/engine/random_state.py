# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Random numbers as a function of the position in a training.

Generators are seeded anew before every epoch, iteration, validation and sample
from the seed of the run and the position. Nothing has to be saved, and a
resumed run draws the numbers of an uninterrupted one: in the main process, on
the GPU, and in data loading, for any number of workers.
"""

import random
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from mmengine.dist import get_rank
from torch.utils.data import BatchSampler, Sampler


def seed_generators(*position: int) -> None:
    """Seed Python, numpy and torch by a position.

    Args:
        position (int): Integers of 0 or more: the seed of the run and what
            identifies the position.
    """
    words = np.random.SeedSequence(position).generate_state(4, np.uint64)
    random.seed(int(words[0]))
    np.random.seed(words[1:2].view(np.uint32))
    # torch.manual_seed would format a stack trace where CUDA is not used.
    torch.default_generator.manual_seed(int(words[2] >> 1))
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(int(words[2] >> 1))


class SeededBatch:
    """Indices of a batch; iterating seeds the generators for each sample.

    The process that loads the batch, a worker or the main one, iterates over
    it. So the seeds reach it without a wrapper of the data set.

    Args:
        indices (list[int]): Indices of samples.
        position (tuple[int, ...]): Position of the batch, for
            :func:`seed_generators`.
    """

    def __init__(self, indices: list[int], position: tuple[int, ...]) -> None:
        self.indices = indices
        self.position = position

    def __iter__(self) -> Iterator[int]:
        for number, index in enumerate(self.indices):
            seed_generators(*self.position, number)
            yield index

    def __len__(self) -> int:
        return len(self.indices)


class SeededBatchSampler(Sampler):
    """Batch sampler whose batches carry their seeds.

    Args:
        batch_sampler (BatchSampler): Of the data loader.
        seed (int): Seed of the run.

    Attributes:
        epoch (int): Number of the next pass over the data.
        skip (int): Number of batches that the next pass leaves out, without
            loading them.
    """

    def __init__(self, batch_sampler: BatchSampler, seed: int) -> None:
        self.batch_sampler = batch_sampler
        self.seed = seed
        self.epoch = 0
        self.skip = 0

    @property
    def sampler(self) -> Iterable[int]:
        """The sampler of indices, whose epoch mmengine sets."""
        return self.batch_sampler.sampler

    @property
    def batch_size(self) -> int:
        """Number of samples in a batch."""
        return self.batch_sampler.batch_size

    @property
    def drop_last(self) -> bool:
        """Whether an incomplete last batch is left out."""
        return self.batch_sampler.drop_last

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[SeededBatch]:
        skip, self.skip = self.skip, 0
        pass_ = (self.seed, get_rank(), self.epoch)
        for number, indices in enumerate(self.batch_sampler):
            if number >= skip:
                yield SeededBatch(indices, (*pass_, number))
        # For loops that only restart the loader. Others set the epoch.
        self.epoch = pass_[-1] + 1
