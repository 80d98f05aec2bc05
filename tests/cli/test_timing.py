# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest

from ata_mm.cli.timing import fit_exponent, paired_times, ratio_table


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
