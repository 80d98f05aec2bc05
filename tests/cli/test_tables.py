# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest

from ata_mm.cli.tables import markdown_row, markdown_table


def test_header_is_separated_from_the_rows():
    table = markdown_table(['a', 'b'], [[1, 'x'], [2.5, 'y']])
    assert table.splitlines() == [
        '| a | b |',
        '|---|---|',
        '| 1 | x |',
        '| 2.5 | y |',
    ]


def test_empty_cells_are_one_space():
    assert markdown_row(['', 'b', '']) == '| | b | |'


def test_table_without_rows_is_a_header():
    assert markdown_table(['a', 'b'], []) == '| a | b |\n|---|---|'


def test_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match='Expected 2 cells .* got 1'):
        markdown_table(['a', 'b'], [['x']])
