# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest

from ata_mm.evaluation.route_report import plot_followed, route_tables
from ata_mm.evaluation.routes import RouteCount

STEP = RouteCount(
    visible=8,
    exact=2,
    within=6,
    distance=12.0,
    rejected=4,
    kept=10,
    kept_within=3,
    gone=5,
    gone_rejected=1,
)
THREE = RouteCount(visible=4, exact=1, within=2, distance=2.0, kept=4)
OWN = {'step': STEP, '1': THREE, '3': RouteCount()}
COUNTS = {'pan:1': {'mine': OWN}, 'pan:0.5': {'mine': OWN}}


@pytest.fixture(scope='module')
def tables():
    return list(route_tables(COUNTS, [1, 3]))


def test_tables_have_a_row_per_method_and_a_column_per_motion(tables):
    for table in tables:
        assert table.columns == ['', 'pan:1', 'pan:0.5']
        assert [row[0] for row in table.rows] == ['mine']


@pytest.mark.parametrize(
    'index, title, cell',
    [
        (0, 'Exactly/within one cell, per step, %', '25/75'),
        (1, 'Within one cell, after 1/3 steps, %', '50/–'),
        (2, 'Exactly, after 1/3 steps, %', '25/–'),
        (3, 'Mean error, after 1/3 steps, patches', '0.5/–'),
        (5, 'The same, after 1/3 steps together, %', '0/0/–'),
    ],
)
def test_cells_are_shares_and_means(tables, index, title, cell):
    assert tables[index].title == title
    assert tables[index].rows == [['mine', cell, cell]]


def test_rejection_is_counted_per_step(tables):
    assert tables[4].rows[0][1] == '50/30/20'


def test_the_plot_has_a_line_per_method_against_the_speed():
    figure = plot_followed({'stage': COUNTS}, [1, 3])
    per_step, after = (axes.lines for axes in figure.axes)
    assert per_step[0].get_xdata().tolist() == [1, 0.5]
    assert per_step[0].get_ydata().tolist() == [75, 75]
    assert after[0].get_ydata().tolist() == [50, 50]


def test_only_pans_are_plotted():
    counts = {**COUNTS, 'zoom:1.1': {'mine': OWN}}
    [line, *others] = plot_followed({'stage': counts}, [1]).axes[0].lines
    assert len(line.get_xdata()) == 2 and not others
