# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Mutual information of neighbouring frames (Sec. 3.2) as a metric.

A metric of mmengine gets the output of a model, not its features. A hook
therefore attaches a listener to the model during validation and test, which
writes the measurements of each video into its data sample; the metric averages
over the videos of all processes. In a config::

    custom_hooks = [dict(type='MutualInformationHook')]
    val_evaluator = [dict(type='AccMetric'), dict(type='MutualInformation')]
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from mmaction.registry import HOOKS, METRICS
from mmaction.structures import ActionDataSample
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ata_mm.introspection import InformationProbe

_FIELD = 'mutual_information'


class SampleProbe(InformationProbe):
    """Probe that writes its measurements of a video into the data sample."""

    def on_output(self, output: list[ActionDataSample]) -> None:
        """Set the field ``mutual_information`` of the samples of a batch."""
        for sample, values in zip(output, self.take(len(output))):
            sample.set_field(values, _FIELD)


@HOOKS.register_module()
class MutualInformationHook(Hook):
    """Hook that measures mutual information during validation and test.

    Every data sample gets a field ``mutual_information``: a dict of values as
    :class:`~ata_mm.introspection.InformationProbe` measures them.
    :class:`MutualInformation` averages them, and ``tools/test.py --dump``
    writes those of each video.

    Args:
        blocks (str | Sequence[int]): Temporal modules to measure: 'all', or
            their indices. Defaults to 'all'.
        temperature (float): See :func:`~ata_mm.ops.mutual_information`.
            Defaults to 0.1.
    """

    def __init__(
        self,
        blocks: str | Sequence[int] = 'all',
        temperature: float = 0.1,
    ) -> None:
        self.blocks = blocks
        self.temperature = temperature

    def before_val(self, runner: Runner) -> None:
        """Attach a probe to the model.

        Raises:
            ValueError: See :class:`~ata_mm.introspection.InformationProbe`.
        """
        self._probe = SampleProbe(runner.model, self.blocks, self.temperature)

    def after_val(self, runner: Runner) -> None:
        """Detach the probe."""
        self._probe.detach()

    before_test = before_val
    after_test = after_val


@METRICS.register_module()
class MutualInformation(BaseMetric):
    """Mean of the values of :class:`MutualInformationHook` over all videos.

    Metrics have names such as 'mutual_information/block0/after/aligned', in
    nats; see :func:`~ata_mm.introspection.information.measure`. Those that end
    in ``_unrelated`` are the control: frames of different videos. They are
    means over the videos that have one, all but the first of each process;
    with a single video there are none.

    Args:
        collect_device (str): Device that collects the results of several
            processes, 'cpu' or 'gpu'. Defaults to 'cpu'.
        prefix (str, optional): Prefix of the names. Defaults to None,
            'mutual_information'.
    """

    default_prefix = 'mutual_information'

    def __init__(
        self, collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device, prefix)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Collect the values of a batch of videos.

        Args:
            data_batch (dict): Not used.
            data_samples (Sequence[dict]): One for each video, with a field
                ``mutual_information``.

        Raises:
            ValueError: If the data samples lack this field.
        """
        for sample in data_samples:
            if _FIELD not in sample:
                raise ValueError(
                    'Expected data samples with a field '
                    f'{_FIELD!r}, got {sorted(sample)}. Add '
                    "dict(type='MutualInformationHook') to custom_hooks in "
                    'the config.'
                )
            self.results.append(sample[_FIELD])

    def compute_metrics(
        self, results: list[dict[str, float]]
    ) -> dict[str, float]:
        """Average over videos.

        Args:
            results (list[dict[str, float]]): The values of each video.

        Returns:
            dict[str, float]: The means over the videos that have a value.
        """
        found = defaultdict(list)
        for values in results:
            for name, value in values.items():
                found[name].append(value)
        return {name: float(np.mean(values)) for name, values in found.items()}
