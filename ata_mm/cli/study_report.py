# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Tables and plots of the results of a study, see :mod:`ata_mm.cli.study`."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ata_mm.evaluation.rendered_routes import ROUTE_COLUMNS, route_row

Cells = list[list[str]]
_SAMPLES = 10000  # of a bootstrap


def result_table(
    results: Sequence[dict],
    metrics: Sequence[str],
    baseline: str | None = None,
) -> tuple[list[str], Cells]:
    """Summarize the metrics of the test over the seeds of each arm.

    Args:
        results (Sequence[dict]): Lines of the result file.
        metrics (Sequence[str]): Names of the metrics, a column each.
        baseline (str, optional): Name of an arm to compare the others with.
            Defaults to None.

    Returns:
        tuple: Header and rows. Means, of several seeds with the standard
        deviation of the sample and the lowest value; mean time of training,
        if there is one that was not resumed; see :func:`difference`.
    """
    timed = any(result['train_seconds'] for result in results)
    header = ['', 'seeds', *metrics, *(['training, s'] if timed else [])]
    rows = []
    arms = _by_arm(results)
    compared = arms.get(baseline or '', [])
    if compared:
        header.append(f'minus {baseline}, 95 %')
    for arm, own in arms.items():
        seeds = ' '.join(str(result['seed']) for result in own)
        cells = [
            _summary([result['metrics'][name] for result in own])
            for name in metrics
        ]
        times = [r['train_seconds'] for r in own if r['train_seconds']]
        time = f'{np.mean(times):.0f}' if times else '–'
        rows.append([arm, seeds, *cells, *([time] if timed else [])])
        if compared:
            rows[-1].append(
                '–' if own is compared else _interval(own, compared)
            )
    return header, rows


def trial_table(
    results: Sequence[dict], metric: str
) -> tuple[list[str], Cells]:
    """List the settings that were tried.

    Args:
        results (Sequence[dict]): Results of the trials.
        metric (str): Name of the metric that decides.

    Returns:
        tuple: Header and rows: arms, with a column for each setting. The best
        is bold.
    """
    short = _short_keys(results)
    names = list(dict.fromkeys(_setting(result, short) for result in results))
    rows = []
    for arm, own in _by_arm(results).items():
        found = {_setting(r, short): r['curve'][-1][metric] for r in own}
        best = max(found, key=found.__getitem__)
        cells = {name: f'{value:.3f}' for name, value in found.items()}
        cells[best] = f'**{cells[best]}**'
        rows.append([arm, *(cells.get(name, '–') for name in names)])
    return ['', *names], rows


def _short_keys(results: Sequence[dict]) -> dict[str, str]:
    """Return the last word of each key, or the key if others end in it."""
    keys = {key for result in results for key in result['setting']}
    words = {key: key.split('.')[-1] for key in keys}
    number = Counter(words.values())
    return {k: word if number[word] == 1 else k for k, word in words.items()}


def _setting(result: dict, short: dict[str, str]) -> str:
    return ', '.join(
        f'{short[key]}={value}' for key, value in result['setting'].items()
    )


def difference(
    results: Sequence[dict], others: Sequence[dict]
) -> tuple[float, float, float]:
    """Compare the accuracy of two arms on the same test videos.

    Args:
        results (Sequence[dict]): Results of the seeds of an arm.
        others (Sequence[dict]): Those of the arm to subtract.

    Returns:
        tuple[float, float, float]: The difference of the means over seeds, and
        its 95 % interval: percentiles of a bootstrap over test videos, paired,
        and over the seeds of each arm. Of few seeds, it is too narrow; of one,
        it has no part of the seed.

    Raises:
        ValueError: If the test videos differ, in number, labels or speeds.
    """
    _check_videos([*results, *others])
    own, other = _correct(results), _correct(others)
    rng = np.random.default_rng(0)
    videos = own.shape[1]
    # How often each sample has each video.
    counts = rng.multinomial(videos, np.full(videos, 1 / videos), _SAMPLES)
    found = _means(own, counts, rng) - _means(other, counts, rng)
    low, high = np.percentile(found, [2.5, 97.5])
    return float(own.mean() - other.mean()), float(low), float(high)


def _check_videos(results: Sequence[dict]) -> None:
    """Raise if the test videos of results are not the same."""
    count = {len(r['correct']) for r in results}
    differing = [
        key
        for key in ('labels', 'speeds')
        if len({tuple(r[key]) for r in results if key in r}) > 1
    ]
    if len(count) > 1:
        got = f'{" and ".join(map(str, sorted(count)))} videos'
    elif differing:
        got = f'videos of different {" and ".join(differing)}'
    else:
        return
    raise ValueError(
        'Expected results of the same test videos, to compare arms, got '
        f'results of {got}. Give all arms the same test videos, and run the '
        'study again.'
    )


def _means(
    correct: np.ndarray, counts: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the accuracy in samples of videos and of seeds, (samples,)."""
    runs, videos = correct.shape
    accuracies = counts @ correct.T / videos  # (samples, runs)
    seeds = rng.integers(runs, size=accuracies.shape)
    means = accuracies.mean(1)
    deviations = np.take_along_axis(accuracies, seeds, 1).mean(1) - means
    # A bootstrap of n runs has (n - 1) / n of the variance of their mean.
    return means + deviations * (runs / max(runs - 1, 1)) ** 0.5


def _interval(results: Sequence[dict], others: Sequence[dict]) -> str:
    if not all('correct' in result for result in (*results, *others)):
        return '–'  # written before predictions were
    return '{:+.3f} [{:+.3f}, {:+.3f}]'.format(*difference(results, others))


def _correct(results: Sequence[dict]) -> np.ndarray:
    """Return whether each run recognised each video, (runs, videos)."""
    return np.array([list(r['correct']) for r in results]).astype(int)


def group_table(
    results: Sequence[dict],
    groups: dict[str, Sequence[int]],
    ranges: dict[str, Sequence[float]],
) -> tuple[list[str], Cells]:
    """Average over the test videos of groups of classes, by speed.

    Args:
        results (Sequence[dict]): Lines of the result file, those without
            labels and speeds are left out.
        groups (dict[str, Sequence[int]]): Class indices by the name of a
            group.
        ranges (dict[str, Sequence[float]]): Lowest speed, and upper bound, by
            the name of a range.

    Returns:
        tuple: Header and rows: arms, a column for each group and range, the
        mean over seeds and videos.

    Raises:
        ValueError: If the test videos differ, in number, labels or speeds.
    """
    results = [r for r in results if 'labels' in r and 'speeds' in r]
    _check_videos(results)
    header = [f'{group}, {name}' for group in groups for name in ranges]
    rows = []
    for arm, own in _by_arm(results).items():
        labels, speeds = np.array(own[0]['labels']), own[0]['speeds']
        correct = _correct(own).mean(0)
        rows.append([arm])
        for classes in groups.values():
            for low, high in ranges.values():
                chosen = np.isin(labels, list(classes))
                chosen &= (np.less_equal(low, speeds)) & np.less(speeds, high)
                rows[-1].append(
                    f'{correct[chosen].mean():.3f}' if chosen.any() else '–'
                )
    return ['', *header], rows


def _by_arm(results: Sequence[dict]) -> dict[str, list[dict]]:
    arms: dict[str, list[dict]] = {}
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
        highest seed; at each epoch, of the seeds that were validated there.
    """
    figure = Figure(figsize=(4 * len(metrics) + 3, 4), layout='constrained')
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    for index, (arm, own) in enumerate(_by_arm(results).items()):
        entries: dict[int, list[dict]] = defaultdict(list)
        for result in own:
            for entry in result['curve']:
                entries[entry['epoch']].append(entry)
        epochs = sorted(entries)
        # Ten colours, and another line for more arms.
        style = '-' if index < 10 else '--'
        for axes, name in zip(panels, metrics):
            values = [[e[name] for e in entries[epoch]] for epoch in epochs]
            means = [np.mean(v) for v in values]
            (line,) = axes.plot(epochs, means, style, label=arm)
            axes.fill_between(
                epochs,
                [min(v) for v in values],
                [max(v) for v in values],
                alpha=0.15,
                color=line.get_color(),
            )
    for axes, name in zip(panels, metrics):
        axes.set(title=name, xlabel='epoch')
        axes.grid(alpha=0.3)
    panels[0].set_ylabel('accuracy of one view')
    panels[-1].legend(loc='center left', bbox_to_anchor=(1, 0.5))
    return figure


def plot_speed(results: Sequence[dict], videos: int = 64) -> Figure:
    """Plot the accuracy on the test videos against their speed.

    Args:
        results (Sequence[dict]): Lines of the result file; those without
            speeds are left out.
        videos (int): Number of videos of similar speed that are averaged.
            Defaults to 64.

    Returns:
        Figure: A line for the mean of each arm, a band from its lowest to its
        highest seed.

    Raises:
        ValueError: If no result has speeds.
    """
    timed = [result for result in results if 'speeds' in result]
    if not timed:
        raise ValueError(
            'Expected results on test videos with speeds, to plot them, got '
            f'{", ".join(map(repr, _by_arm(results)))} without. Rendered '
            'videos have them.'
        )
    figure = Figure(figsize=(9, 4), layout='constrained')
    axes = figure.subplots()
    for index, (arm, own) in enumerate(_by_arm(timed).items()):
        speeds = np.array(own[0]['speeds'])
        order = speeds.argsort(kind='stable')
        width = min(videos, len(order))
        # The mean over neighbouring videos: of their speed, and of each seed.
        speed, *seeds = (
            np.convolve(values[order], np.full(width, 1 / width), 'valid')
            for values in (speeds, *_correct(own))
        )
        style = '-' if index < 10 else '--'
        (line,) = axes.plot(speed, np.mean(seeds, 0), style, label=arm)
        axes.fill_between(
            speed,
            np.min(seeds, 0),
            np.max(seeds, 0),
            alpha=0.15,
            color=line.get_color(),
        )
    axes.set(xlabel='speed, pixels per frame', ylabel='accuracy')
    axes.grid(alpha=0.3)
    axes.legend(loc='center left', bbox_to_anchor=(1, 0.5))
    return figure


def route_table(
    results: Sequence[dict], metric: str
) -> tuple[list[str], Cells]:
    """Describe the routes after the last epoch, block by block.

    Args:
        results (Sequence[dict]): Lines of the result file; those without
            routes are left out.
        metric (str): Name of the metric to show beside.

    Returns:
        tuple: Header and rows: means over those seeds of each arm that have a
        value, see
        :func:`~ata_mm.evaluation.rendered_routes.describe_routes`.
    """
    rows = []
    for arm, own in _by_arm(_with_routes(results)).items():
        accuracy = np.mean([result['metrics'][metric] for result in own])
        last = [result['routes'][-1]['blocks'] for result in own]
        for block, found in enumerate(zip(*last)):
            mean = {
                key: np.mean([f[key] for f in found if key in f])
                for key in set().union(*found)
            }
            seeds = ' '.join(str(result['seed']) for result in own)
            first = [arm, seeds, f'{accuracy:.3f}'] if block == 0 else [''] * 3
            rows.append([*first, str(block), *route_row(mean)])
    return ['', 'seeds', metric, 'block', *ROUTE_COLUMNS], rows


def plot_routes(results: Sequence[dict]) -> Figure:
    """Plot how routes follow the true motion in the course of a training.

    Args:
        results (Sequence[dict]): Lines of the result file.

    Returns:
        Figure: A panel for each temporal module, a line for each arm: at each
        epoch, the mean of the seeds whose checkpoint of it was kept. Of an arm
        without routes, it is that of patches that stay in place.

    Raises:
        ValueError: If no result has routes.
    """
    # Shares by arm, block and epoch.
    shares: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for result in _with_routes(results):
        for entry in result['routes']:
            for block, found in enumerate(entry['blocks']):
                if 'followed' in found:
                    key = result['arm'], block, entry['epoch']
                    shares[key].append(found['followed'])
    if not shares:
        raise ValueError(
            'Expected results of arms with routes, to plot them, got '
            f'{", ".join(map(repr, _by_arm(results)))}. Set routes, a number '
            'of videos, in the study before it is run.'
        )
    blocks = sorted({block for _, block, _ in shares})
    figure = Figure(figsize=(4 * len(blocks) + 3, 4), layout='constrained')
    panels = figure.subplots(1, len(blocks), squeeze=False, sharey=True)[0]
    for block, axes in zip(blocks, panels):
        lines: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for (arm, own, epoch), values in shares.items():
            if own == block:
                lines[arm].append((epoch, float(np.mean(values))))
        for index, (arm, points) in enumerate(lines.items()):
            style = '.-' if index < 10 else '.--'
            axes.plot(*zip(*sorted(points)), style, label=arm)
        axes.set(title=f'block {block}', xlabel='epoch')
        axes.grid(alpha=0.3)
    panels[0].set_ylabel('followed per step')
    panels[-1].legend(loc='center left', bbox_to_anchor=(1, 0.5))
    return figure


def _with_routes(results: Sequence[dict]) -> list[dict]:
    return [result for result in results if result.get('routes')]
