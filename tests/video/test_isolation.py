# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import faulthandler
import os
import signal
import time
import warnings

import numpy as np
import pytest
import torch

from ata_mm.video import VideoError, Workers


def work(item):
    """A function that does what its item says."""
    if item == 'crash':
        faulthandler.disable()  # the crash is meant
        os.kill(os.getpid(), signal.SIGSEGV)
    elif item == 'exit':
        os._exit(3)
    elif item == 'hang':
        time.sleep(60)
    elif item == 'fail':
        raise KeyError(item)
    elif item == 'warn':
        warnings.warn('careful', stacklevel=1)
    return item


@pytest.mark.parametrize('ahead', [1, 4])
@pytest.mark.parametrize('number', [1, 3])
@pytest.mark.parametrize(
    'item, reason',
    [
        ('crash', r'stops the decoder \(SIGSEGV\)'),
        ('exit', r'stops the decoder \(status 3\)'),
        ('hang', 'was not read within 0.5 s'),
    ],
)
def test_death_costs_one_item(number, ahead, item, reason):
    items = ['a', 'b', item, 'c', 'd']
    with Workers(work, number, time_limit=0.5, ahead=ahead) as workers:
        outcomes = list(workers.imap(items))
    assert [outcome.item for outcome in outcomes] == items
    values = [outcome.value for outcome in outcomes]
    assert values == ['a', 'b', None, 'c', 'd']
    with pytest.raises(VideoError, match=f'{item} {reason}'):
        outcomes[2].get()


def test_errors_reach_the_caller():
    with Workers(work) as workers, pytest.raises(KeyError, match='fail'):
        workers('fail')


class TwoArguments(Exception):
    def __init__(self, file, reason):
        super().__init__(f'{file}: {reason}')


def test_errors_that_cannot_be_pickled_cost_one_item():
    def work(item):
        if item == 'bad':
            raise TwoArguments(item, 'no frames')
        return item

    with Workers(work) as workers:
        outcomes = list(workers.imap(['a', 'bad', 'b']))
    assert [outcome.value for outcome in outcomes] == ['a', None, 'b']
    with pytest.raises(RuntimeError, match='TwoArguments: bad: no frames'):
        outcomes[1].get()


def test_warnings_reach_the_caller():
    with Workers(work) as workers, pytest.warns(UserWarning, match='careful'):
        assert workers('warn') == 'warn'


def test_file_of_an_item_is_named():
    named = pytest.raises(VideoError, match='but crash.mp4 stops')
    with named, Workers(work, name='{}.mp4'.format) as workers:
        workers('crash')


def test_arrays_and_tensors_are_returned():
    def make(number):
        return np.arange(number)[::2], torch.arange(number).float()

    with Workers(make) as workers:
        array, tensor = workers(1_000_000)
    assert np.array_equal(array, np.arange(0, 1_000_000, 2))
    assert torch.equal(tensor, torch.arange(1_000_000).float())
    array[0], tensor[0] = 1, 1  # both can be written


@pytest.mark.parametrize(
    'tensor',
    [
        torch.tensor(3.0),
        torch.zeros(0, 2),
        torch.arange(240).view(2, 4, 5, 3, 2).permute(0, 3, 1, 4, 2)[:1],
        torch.arange(24).view(4, 6)[:, ::2],
        torch.arange(5).expand(3, 5),
    ],
    ids=['scalar', 'empty', 'permuted', 'strided', 'expanded'],
)
def test_tensors_of_any_layout_are_returned(tensor):
    with Workers(lambda _: tensor) as workers:
        result = workers(0)
    assert torch.equal(result, tensor)


@pytest.mark.parametrize('ahead', [1, 3])
def test_next_items_are_worked_on_meanwhile(ahead):
    def finish(_):
        time.sleep(0.1)
        return time.monotonic()

    with Workers(finish, ahead=ahead) as workers:
        outcomes = workers.imap(range(5))
        next(outcomes)
        time.sleep(0.2 + 0.1 * ahead)
        before = time.monotonic()
        ends = [outcome.get() for outcome in outcomes]
    assert [end < before for end in ends] == [i < ahead for i in range(4)]


def test_time_of_the_caller_does_not_count():
    with Workers(work, time_limit=0.5, ahead=2) as workers:
        values = []
        for outcome in workers.imap('abcde'):
            time.sleep(0.6)
            values.append(outcome.get())
    assert values == [*'abcde']


def test_results_that_wait_for_an_earlier_one_are_limited():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    def first_is_slow(number):
        time.sleep(0 if number else 1)

    with Workers(first_is_slow, 2, ahead=2) as workers:
        outcomes = workers.imap(items())
        next(outcomes)
        assert len(taken) < 12
        assert len(list(outcomes)) == 99


def test_caller_may_stop_early():
    with Workers(work, 2) as workers:
        assert next(workers.imap(['a', 'b', 'c'])).value == 'a'
        assert workers('d') == 'd'


@pytest.mark.parametrize('size', [0, 1, 2**26 + 1])
def test_arrays_of_any_size_pass(size):
    """The last one has no room in the memory that the processes share."""
    with Workers(lambda n: (np.full(n, 7, np.uint8), np.eye(3))) as workers:
        full, eye = workers(size)
    assert full.size == size and (full == 7).all() and (eye == np.eye(3)).all()


def test_values_outlive_the_next_one():
    with Workers(lambda level: np.full((64, 64), level)) as workers:
        first, second = workers(1), workers(2)
    assert (first == 1).all() and (second == 2).all()


@pytest.mark.parametrize('options', [dict(number=0), dict(ahead=0)])
def test_no_processes_or_items_are_refused(options):
    with pytest.raises(ValueError, match='at least 1 process and item'):
        Workers(abs, **options)
