# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Accuracy by the speed of the camera."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmaction.evaluation import AccMetric
from mmaction.registry import METRICS
from mmengine.logging import print_log


@METRICS.register_module()
class AccuracyBySpeed(AccMetric):
    """Top-1 accuracy of the videos in each range of speeds.

    Every data sample needs the meta information ``speed``, which
    :class:`~ata_mm.datasets.CameraMotionDataset` provides::

        dict(type='PackActionInputs', meta_keys=('speed',))

    Args:
        ranges (dict[str, Sequence[float]]): Lowest speed, and upper bound that
            is not part of the range, of each name, in pixels per frame.
        **kwargs: Further arguments of ``AccMetric``, whose metrics stand
            beside ``acc/<name>``, such as ``acc/slow``. A range without
            videos has none, which is warned of.
    """

    def __init__(
        self, ranges: Mapping[str, Sequence[float]], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.ranges = ranges

    def process(
        self,
        data_batch: Sequence[tuple[Any, dict]],
        data_samples: Sequence[dict],
    ) -> None:
        """Store the score, label and speed of each sample."""
        super().process(data_batch, data_samples)
        for result, sample in zip(
            self.results[-len(data_samples) :], data_samples
        ):
            result['speed'] = sample['speed']

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Compute the accuracy of all videos, and of each range."""
        metrics = super().compute_metrics(results)
        speed = np.array([result['speed'] for result in results])
        right = np.array([r['pred'].argmax() == r['label'] for r in results])
        for name, (low, high) in self.ranges.items():
            chosen = right[(low <= speed) & (speed < high)]
            if len(chosen):
                metrics[name] = chosen.mean()
            else:  # NaN is not valid in the JSON of the metrics
                print_log(
                    f'No video has a speed of the range {name}, {low:g} to '
                    f'{high:g}.',
                    logger='current',
                    level=logging.WARNING,
                )
        return metrics
