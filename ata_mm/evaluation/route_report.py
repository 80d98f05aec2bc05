# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Tables and plots of how much of known motion routes follow."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .motion_suite import parse_motion
from .routes import RouteCount

# By motion, by method, and by the number of steps, or 'step'.
Counts = dict[str, dict[str, dict[str, RouteCount]]]


class Table(NamedTuple):
    """Table of a row per method and a column per motion.

    Args:
        title (str): What the cells are.
        columns (list[str]): Names of the columns, '' for that of the methods.
        rows (list[list[str]]): Formatted cells.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]


def route_tables(counts: Counts, steps: Sequence[int]) -> Iterator[Table]:
    """Format the counts of a stage.

    Args:
        counts (dict): Of :func:`~ata_mm.evaluation.count_followed`, by motion
            and method.
        steps (Sequence[int]): Numbers of steps after which routes have been
            compared.

    Yields:
        Table: Shares per step, within one cell and exactly after these steps,
        mean errors, and rejections.
    """
    keys = [str(step) for step in steps]
    after = f'after {"/".join(keys)} steps'
    yield _table(
        'Exactly/within one cell, per step, %',
        counts,
        lambda own: [own['step'].exact_share, own['step'].within_share],
    )
    yield _table(
        f'Within one cell, {after}, %',
        counts,
        lambda own: [own[key].within_share for key in keys],
    )
    yield _table(
        f'Exactly, {after}, %',
        counts,
        lambda own: [own[key].exact_share for key in keys],
    )
    yield _table(
        f'Mean error, {after}, patches',
        counts,
        lambda own: [own[key].mean_error for key in keys],
        '{:.1f}',
    )
    yield _table(
        'Rejected of visible content/within one cell of what is kept/rejected '
        'of content out of sight, per step, %',
        counts,
        lambda own: own['step'].rejection_shares,
    )
    yield _table(
        f'The same, {after} together, %',
        counts,
        lambda own: _total(own, keys).rejection_shares,
    )


def _table(
    title: str,
    counts: Counts,
    values: Callable[[dict[str, RouteCount]], Sequence[float]],
    pattern: str = '{:.0%}',
) -> Table:

    def cell(own: dict[str, RouteCount]) -> str:
        numbers = [
            '–' if np.isnan(value) else pattern.format(value).rstrip('%')
            for value in values(own)
        ]
        return '/'.join(numbers)

    rows = [
        [name, *(cell(own[name]) for own in counts.values())]
        for name in next(iter(counts.values()))
    ]
    return Table(title, ['', *counts], rows)


def _total(own: dict[str, RouteCount], keys: Sequence[str]) -> RouteCount:
    return sum((own[key] for key in keys), RouteCount())


def plot_followed(counts: dict[str, Counts], steps: Sequence[int]) -> Figure:
    """Plot followed content against the speed of pans.

    Args:
        counts (dict): As of :func:`route_tables`, by stage.
        steps (Sequence[int]): Likewise.

    Returns:
        Figure: A row per stage: per step, and after all of ``steps`` together.
    """
    figure = Figure(figsize=(13, 5 * len(counts)), layout='constrained')
    panels = figure.subplots(len(counts), 2, squeeze=False)
    keys = [str(step) for step in steps]
    titles = {
        'in each step': ['step'],
        f'after {"/".join(keys)} steps': keys,
    }
    for row, (stage, by_motion) in zip(panels, counts.items()):
        for axes, (title, own_keys) in zip(row, titles.items()):
            _plot_panel(axes, by_motion, own_keys)
            axes.set_title(f'{stage}, {title}')
        row[1].legend(loc='center left', bbox_to_anchor=(1, 0.5))
    return figure


def _plot_panel(axes: Axes, by_motion: Counts, keys: Sequence[str]) -> None:
    """Plot a line per method: the share within one cell, of all ``keys``."""
    pans = {
        parse_motion(motion)[1]: own
        for motion, own in by_motion.items()
        if parse_motion(motion)[0] == 'pan'
    }
    for index, name in enumerate(next(iter(by_motion.values()))):
        shares = [
            100 * _total(own[name], keys).within_share for own in pans.values()
        ]
        # Ten colours, and another line for more methods.
        style = '-' if index < 10 else '--'
        axes.plot(list(pans), shares, style, marker='o', label=name)
    axes.set(
        xscale='log',
        ylim=(0, 101),
        xlabel='speed, patches per frame',
        ylabel='within one cell, %',
    )
    axes.set_xticks(list(pans), labels=[f'{speed:g}' for speed in pans])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
