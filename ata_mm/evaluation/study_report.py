# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Tables and plots of the results of a study, see :mod:`ata_mm.cli.study`."""

from typing import Dict, List, Sequence, Tuple

import numpy as np
from matplotlib.figure import Figure

Cells = List[List[str]]


def result_table(
    results: Sequence[dict], metrics: Sequence[str]
) -> Tuple[List[str], Cells]:
    """Summarize the metrics of the test over the seeds of each arm.

    Args:
        results (Sequence[dict]): Lines of the result file.
        metrics (Sequence[str]): Names of the metrics, a column each.

    Returns:
        tuple: Header and rows. Means, of several seeds with the standard
        deviation of the sample and the lowest value; mean time of training,
        if there is one that was not resumed.
    """
    timed = any(result['train_seconds'] for result in results)
    header = ['', 'seeds', *metrics, *(['training, s'] if timed else [])]
    rows = []
    for arm, own in _by_arm(results).items():
        seeds = ' '.join(str(result['seed']) for result in own)
        cells = [
            _summary([result['metrics'][name] for result in own])
            for name in metrics
        ]
        times = [r['train_seconds'] for r in own if r['train_seconds']]
        time = f'{np.mean(times):.0f}' if times else '–'
        rows.append([arm, seeds, *cells, *([time] if timed else [])])
    return header, rows


def _by_arm(results: Sequence[dict]) -> Dict[str, List[dict]]:
    arms: Dict[str, List[dict]] = {}
    for result in results:
        arms.setdefault(result['arm'], []).append(result)
    return arms


def _summary(values: Sequence[float]) -> str:
    mean = f'{np.mean(values):.3f}'
    if len(values) == 1:
        return mean
    return f'{mean} ± {np.std(values, ddof=1):.3f} (≥ {min(values):.3f})'


def plot_curves(results: Sequence[dict], metrics: Sequence[str]) -> Figure:
    """Plot the metrics of the validations over the epochs.

    Args:
        results (Sequence[dict]): Lines of the result file.
        metrics (Sequence[str]): Names of the metrics, a panel each.

    Returns:
        Figure: A line for the mean of each arm, a band from its lowest to its
        highest seed.
    """
    figure = Figure(figsize=(4 * len(metrics) + 3, 4), layout='constrained')
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    for index, (arm, own) in enumerate(_by_arm(results).items()):
        epochs = [entry['epoch'] for entry in own[0]['curve']]
        # Ten colours, and another line for more arms.
        style = '-' if index < 10 else '--'
        for axes, name in zip(panels, metrics):
            values = np.array([[e[name] for e in r['curve']] for r in own])
            (line,) = axes.plot(epochs, values.mean(0), style, label=arm)
            axes.fill_between(
                epochs,
                values.min(0),
                values.max(0),
                alpha=0.15,
                color=line.get_color(),
            )
    for axes, name in zip(panels, metrics):
        axes.set(title=name, xlabel='epoch')
        axes.grid(alpha=0.3)
    panels[0].set_ylabel('accuracy of one view')
    panels[-1].legend(loc='center left', bbox_to_anchor=(1, 0.5))
    return figure
