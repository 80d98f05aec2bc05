# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Paired timings.

On a noisy machine, absolute times drift by more than the differences that a
benchmark is after. Alternatives are therefore run in turn, and their times
compared within each round.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from .tables import markdown_table


def paired_times(
    functions: Mapping[str, Callable[[], object]],
    rounds: int,
    after_round: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time functions in turn, round after round.

    One round that is not measured comes first.

    Args:
        functions (dict[str, Callable]): Functions to time, by name.
        rounds (int): Number of measured rounds.
        after_round (Callable): Called after each of them, to advance a
            progress bar. Defaults to a function that does nothing.
        clock (Callable): Returns seconds. Defaults to a monotonic clock;
            ``time.process_time`` is independent of other processes.

    Returns:
        dict[str, list[float]]: Seconds of each round, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for index in range(-1, rounds):
        for name, function in functions.items():
            _synchronise()
            start = clock()
            function()
            _synchronise()
            if index >= 0:
                times[name].append(clock() - start)
        if index >= 0:
            after_round()
    return times


class ModuleTimer:
    """Timer of the forward passes of modules.

    On a GPU, by events in the stream of the calls: nothing is synchronised
    before `take`, and gaps between kernels count.

    Args:
        modules (Iterable[nn.Module]): Modules that do not call each other.
        device (torch.device): Device that they run on.
    """

    def __init__(
        self, modules: Iterable[nn.Module], device: torch.device
    ) -> None:
        self._cuda = device.type == 'cuda'
        self._starts: list[Any] = []
        self._stops: list[Any] = []
        for module in modules:
            module.register_forward_pre_hook(
                lambda *_: self._starts.append(self._now())
            )
            module.register_forward_hook(
                lambda *_: self._stops.append(self._now())
            )

    def take(self) -> float:
        """Return the seconds of all calls since the last `take`."""
        _synchronise()
        spans = list(zip(self._starts, self._stops))
        self._starts.clear()
        self._stops.clear()
        if self._cuda:
            return sum(start.elapsed_time(stop) for start, stop in spans) / 1e3
        return sum(stop - start for start, stop in spans)

    def _now(self) -> float | torch.cuda.Event:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def ratio_table(
    times: Mapping[str, Sequence[float]],
    columns: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Format medians, and medians of the ratios to the first, in Markdown.

    Args:
        times (dict[str, list[float]]): As :func:`paired_times` returns them.
        columns (dict[str, dict[str, str]], optional): Further columns, by
            title: the cell of each name. Defaults to None.

    Returns:
        str: A table with a row for each name.
    """
    columns = columns or {}
    first = next(iter(times.values()))
    rows = []
    for name, seconds in times.items():
        # The median of ratios, not the ratio of medians: each ratio compares
        # neighbouring times, before the machine changes its speed.
        share = median(a / b for a, b in zip(seconds, first))
        rows.append(
            [
                name,
                f'{1e3 * median(seconds):.1f}',
                f'{share:.3f}',
                f'{1 / share:.2f}',
                *(cells[name] for cells in columns.values()),
            ]
        )
    header = ['', 'median, ms', 'of the first', 'times as fast', *columns]
    return markdown_table(header, rows)


def fit_exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Fit the exponent of a power law.

    Args:
        sizes (Sequence[float]): Problem sizes.
        times (Sequence[float]): Times in any unit.

    Returns:
        float: The p of ``time = c * size ** p`` with least squared error of
        the logarithms.
    """
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def _synchronise() -> None:
    """Synchronise the GPU, if any, whose kernels run asynchronously."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
