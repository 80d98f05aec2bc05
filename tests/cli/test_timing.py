# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import time

import pytest
import torch
from torch import nn

from ata_mm.cli.timing import (
    ModuleTimer,
    fit_exponent,
    paired_times,
    ratio_table,
)

NEEDS_GPU = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a GPU'
)


def test_functions_run_in_turn_and_the_first_round_is_not_counted():
    order = []
    functions = dict(a=lambda: order.append('a'), b=lambda: order.append('b'))
    times = paired_times(functions, rounds=2)
    assert order == ['a', 'b'] * 3
    assert {name: len(own) for name, own in times.items()} == dict(a=2, b=2)


def test_ratios_are_taken_round_by_round():
    table = ratio_table(dict(slow=[1.0, 10.0, 100.0], fast=[0.5, 5.0, 20.0]))
    assert table.splitlines()[-1] == '| fast | 5000.0 | 0.500 | 2.00 |'


def test_further_columns_of_the_table():
    table = ratio_table(dict(a=[1.0]), {'of the peak': dict(a='75%')})
    assert table.splitlines()[0].endswith('| times as fast | of the peak |')
    assert table.splitlines()[-1] == '| a | 1000.0 | 1.000 | 1.00 | 75% |'


def test_exponent_of_a_power_law():
    assert fit_exponent([2, 4, 10], [8, 64, 1000]) == pytest.approx(3)


@pytest.mark.parametrize(
    'device', ['cpu', pytest.param('cuda', marks=NEEDS_GPU)]
)
def test_time_of_modules_is_that_within_them(device):
    linear = nn.Linear(512, 512).to(device)
    timer = ModuleTimer([linear], torch.device(device))
    x = torch.ones(512, 512, device=device)
    linear(x)  # not counted
    timer.take()
    start = time.perf_counter()
    linear(linear(x))
    assert 0 < timer.take() < time.perf_counter() - start
    assert timer.take() == 0
