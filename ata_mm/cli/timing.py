# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Paired timings: on a noisy machine only ratios of neighbours mean much."""
import time
from statistics import median
from typing import Callable, Dict, List, Optional, Sequence

import numpy as np
import torch


def paired_times(
        ways: Dict[str, Callable[[], None]],
        rounds: int,
        after_round: Callable[[],
                              None] = lambda: None) -> Dict[str, List[float]]:
    """Run every way in turn, round after round, after one round unmeasured.

    Args:
        ways (dict[str, Callable]): What to time, by name.
        rounds (int): How many times each is timed.
        after_round (Callable): Called after each round, for a progress bar.
            Defaults to nothing.

    Returns:
        dict[str, list[float]]: Seconds of each round, by name.
    """
    times = {name: [] for name in ways}
    for counted in range(-1, rounds):
        for name, way in ways.items():
            _wait_for_gpu()
            start = time.perf_counter()
            way()
            _wait_for_gpu()
            if counted >= 0:
                times[name].append(time.perf_counter() - start)
        if counted >= 0:
            after_round()
    return times


def ratio_table(times: Dict[str, List[float]],
                more: Optional[Dict[str, Dict[str, str]]] = None) -> str:
    """Medians, and medians of the ratios to the first, in Markdown.

    Args:
        times (dict[str, list[float]]): As :func:`paired_times` returns.
        more (dict[str, dict[str, str]], optional): Further columns: by their
            heads, the entries by name. Defaults to None.

    Returns:
        str: A Markdown table with a row for each name.
    """
    more = more or {}
    unit = next(iter(times.values()))
    heads = ['', 'median, ms', 'of the first', 'times as fast', *more]
    rows = [
        '|' + '|'.join(f' {head} '.replace('  ', ' ') for head in heads) + '|',
        '|---' * len(heads) + '|'
    ]
    for name, own in times.items():
        share = median(a / b for a, b in zip(own, unit))
        rows.append(f'| {name} | {1e3 * median(own):.1f} | {share:.3f} | '
                    f'{1 / share:.2f} |' +
                    ''.join(f' {column[name]} |' for column in more.values()))
    return '\n'.join(rows)


def fit_exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The p of ``time = c * size ** p`` that fits best, by least squares of
    the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def _wait_for_gpu() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
