# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pickle
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader

from ata_mm.engine import random_state
from ata_mm.engine.data_loading import make_resumable
from ata_mm.engine.random_state import (
    SeededBatch,
    SeededBatchSampler,
    seed_generators,
)
from ata_mm.engine.run_state_hook import RunStateHook


def draw() -> tuple:
    return random.random(), np.random.rand(), torch.rand(1).item()


class Draws(torch.utils.data.Dataset):
    """A data set of random numbers."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, *draw()


def loader(num_workers: int = 0, seed: int = 1) -> DataLoader:
    sampler = BatchSampler(range(10), batch_size=3, drop_last=False)
    made = DataLoader(
        Draws(),
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=list,
        persistent_workers=num_workers > 0,
        multiprocessing_context='fork' if num_workers else None,
    )
    make_resumable(made, seed)
    return made


def test_equal_positions_draw_equal_numbers():
    seed_generators(1, 2, 3)
    first = draw()
    seed_generators(1, 2, 3)
    assert draw() == first


@pytest.mark.parametrize('generator', range(3))
def test_other_positions_draw_other_numbers(generator):
    drawn = set()
    for position in ((0, 0), (0, 1), (1, 0), (0, 0, 1)):
        seed_generators(*position)
        drawn.add(draw()[generator])
    assert len(drawn) == 4


def test_seeds_reach_the_process_that_iterates():
    batch = pickle.loads(pickle.dumps(SeededBatch([5, 6], (1, 2))))
    state = torch.get_rng_state()
    pickle.dumps(batch)
    assert torch.equal(torch.get_rng_state(), state)
    assert [(index, *draw()) for index in batch] == [
        (index, *draw()) for index in batch
    ]


@pytest.mark.parametrize('num_workers', [1, 2])
def test_samples_do_not_depend_on_the_number_of_workers(num_workers):
    assert list(loader(num_workers)) == list(loader())


def test_samples_differ_between_epochs_and_seeds():
    one = loader()
    passes = [list(one), list(one), list(loader(seed=2))]
    drawn = {sample[1:] for batches in passes for b in batches for sample in b}
    assert len(drawn) == 30


def test_processes_of_a_training_draw_other_numbers(monkeypatch):
    drawn = set()
    for rank in range(2):
        monkeypatch.setattr(random_state, 'get_rank', lambda r=rank: r)
        drawn |= {sample for batch in loader() for sample in batch}
    assert len(drawn) == 20


def test_batches_are_skipped_once():
    one, other = loader(), loader()
    other.batch_sampler.skip = 2
    assert list(other) == list(one)[2:]
    assert list(other) == list(one)


def test_a_loader_keeps_what_hooks_read():
    one = DataLoader(Draws(), batch_size=3)
    make_resumable(one, 1)
    assert len(one) == 4 and one.batch_size == 3
    assert one.batch_sampler.batch_size == 3
    assert one.batch_sampler.sampler is one.sampler


def test_a_validation_draws_by_the_position_of_the_training():
    sampler = SeededBatchSampler(BatchSampler(range(4), 2, False), 3)
    loader = SimpleNamespace(batch_sampler=sampler)
    runner = SimpleNamespace(seed=3, iter=5, val_dataloader=loader)
    RunStateHook().before_val_epoch(runner)
    assert sampler.epoch == 5  # after a restart, too
