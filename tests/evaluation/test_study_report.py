# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest

from ata_mm.evaluation.study_report import plot_curves, result_table


def result(arm, seed, accuracy, seconds=60.0):
    curve = [dict(epoch=2, all=accuracy / 2), dict(epoch=4, all=accuracy)]
    return dict(
        arm=arm,
        seed=seed,
        metrics=dict(all=accuracy),
        curve=curve,
        train_seconds=seconds,
    )


RESULTS = [
    result('ATA', 0, 0.8),
    result('ATA', 1, 0.9, seconds=None),
    result('attention', 0, 0.75, seconds=None),
]


def test_table_summarizes_the_seeds_of_each_arm():
    header, rows = result_table(RESULTS, ['all'])
    assert header == ['', 'seeds', 'all', 'training, s']
    assert rows == [
        ['ATA', '0 1', '0.850 ± 0.071 (≥ 0.800)', '60'],
        ['attention', '0', '0.750', '–'],
    ]


def test_plot_has_a_line_of_means_for_each_arm():
    axes = plot_curves(RESULTS, ['all']).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == ['ATA', 'attention']
    assert list(lines['ATA'].get_xdata()) == [2, 4]
    assert list(lines['ATA'].get_ydata()) == pytest.approx([0.425, 0.85])


def test_table_has_no_column_for_unknown_times():
    header, rows = result_table(RESULTS[2:], ['all'])
    assert header == ['', 'seeds', 'all']
    assert rows == [['attention', '0', '0.750']]
