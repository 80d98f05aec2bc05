# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Markdown tables for printed results."""

from collections.abc import Sequence


def markdown_row(cells: Sequence[object]) -> str:
    """Format one row of a Markdown table.

    Args:
        cells (Sequence[object]): Values, converted with ``str``. Numbers are
            formatted by the caller.

    Returns:
        str: The row, such as ``'| a | 1 |'``; an empty cell is one space.
    """
    texts = map(str, cells)
    return '|' + '|'.join(f' {text} ' if text else ' ' for text in texts) + '|'


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[object]]
) -> str:
    """Format a Markdown table.

    Args:
        header (Sequence[str]): Column titles; '' for a column without one.
        rows (Sequence[Sequence[object]]): Cells of each row, as many as there
            are titles.

    Returns:
        str: Lines joined by newlines, without one at the end. Without rows,
        the header and its separator, to be followed by lines of
        :func:`markdown_row` as they become available.

    Raises:
        ValueError: If a row has more or fewer cells than the header.

    Example:
        >>> print(markdown_table(['', 'ms'], [['exact', 1.5]]))
        | | ms |
        |---|---|
        | exact | 1.5 |
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(
                f'Expected {len(header)} cells in each row, as '
                f'in the header, got {len(row)}: {list(row)}.'
            )
    separator = '|---' * len(header) + '|'
    return '\n'.join(
        [markdown_row(header), separator, *map(markdown_row, rows)]
    )
