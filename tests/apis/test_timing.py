# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from ata_mm.apis.timing import paired_times, ratio_table


def test_ways_are_run_in_turn_and_the_first_round_is_not_counted():
    order = []
    ways = dict(a=lambda: order.append('a'), b=lambda: order.append('b'))
    times = paired_times(ways, rounds=2)
    assert order == ['a', 'b'] * 3
    assert {name: len(own) for name, own in times.items()} == dict(a=2, b=2)


def test_ratios_are_taken_round_by_round():
    table = ratio_table(dict(slow=[1., 10., 100.], fast=[.5, 5., 20.]))
    assert table.splitlines()[-1] == '| fast | 5000.0 | 0.500 | 2.00 |'
