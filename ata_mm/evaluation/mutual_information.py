# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Mutual information of neighbouring frames (Sec. 3.2) as a metric.

A metric of mmengine sees what a model returns, not its features. So a hook
listens to the model during validation and test, and puts what it measures of
each video into its data sample; the metric averages over all videos of all
processes. In a config::

    custom_hooks = [dict(type='MutualInformationHook')]
    val_evaluator = [dict(type='AccMetric'), dict(type='MutualInformation')]
"""
from typing import Dict, List, Optional, Sequence, Union

from mmaction.registry import HOOKS, METRICS
from mmaction.structures import ActionDataSample
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from ata_mm.introspection.information import InformationProbe

_FIELD = 'mutual_information'


@HOOKS.register_module()
class MutualInformationHook(Hook):
    """Measure mutual information of frames during validation and test.

    Every data sample gets a field ``mutual_information``, values by name, as
    :class:`InformationProbe` measures them; :class:`MutualInformation`
    averages them, and ``tools/test.py --dump`` writes those of each video.

    Args:
        blocks (str | Sequence[int]): Temporal modules to look at: 'all', or
            their indices. Defaults to 'all'.
        temperature (float): See :func:`~ata_mm.ops.mutual_information`.
            Defaults to 0.1.
    """

    def __init__(self,
                 blocks: Union[str, Sequence[int]] = 'all',
                 temperature: float = 0.1) -> None:
        self.blocks = blocks
        self.temperature = temperature

    def before_val(self, runner: Runner) -> None:
        """Listen to the model.

        Raises:
            ValueError: See :class:`InformationProbe`.
        """
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        self._probe = InformationProbe(model, self.blocks, self.temperature)
        self._probe.__enter__()
        self._handle = model.register_forward_hook(self._write)

    def after_val(self, runner: Runner) -> None:
        """Leave the model as it was."""
        self._handle.remove()
        self._probe.__exit__()

    before_test = before_val
    after_test = after_val

    def _write(self, model: nn.Module, args: tuple,
               samples: List[ActionDataSample]) -> None:
        for sample, values in zip(samples, self._probe.take(len(samples))):
            sample.set_field(values, _FIELD)


@METRICS.register_module()
class MutualInformation(BaseMetric):
    """Mean over all videos of what :class:`MutualInformationHook` measures.

    Metrics have names such as 'mutual_information/block0/after/all_pairs', in
    nats; see :func:`~ata_mm.introspection.information.measure`.

    Args:
        collect_device (str): 'cpu' or 'gpu', where results of several
            processes are collected. Defaults to 'cpu'.
        prefix (str, optional): In front of the names. Defaults to None,
            'mutual_information'.
    """

    default_prefix = 'mutual_information'

    def __init__(self,
                 collect_device: str = 'cpu',
                 prefix: Optional[str] = None) -> None:
        super().__init__(collect_device, prefix)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the values of a batch of videos.

        Raises:
            ValueError: If the data samples have none.
        """
        for sample in data_samples:
            if _FIELD not in sample:
                raise ValueError(
                    'Expected data samples with a field '
                    f'{_FIELD!r}, got {sorted(sample)}. Add '
                    "dict(type='MutualInformationHook') to custom_hooks in "
                    'the config.')
            self.results.append(sample[_FIELD])

    def compute_metrics(self, results: List[Dict[str,
                                                 float]]) -> Dict[str, float]:
        """Average over videos."""
        return {
            name: sum(values[name] for values in results) / len(results)
            for name in results[0]
        }
