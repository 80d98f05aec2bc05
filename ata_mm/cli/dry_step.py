# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The cost of a training, from two steps of it."""

import math
import resource
import time
from typing import NamedTuple

import torch
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from ata_mm.checkpoints import LoadReport, load_pretrained, read_checkpoint
from ata_mm.introspection import Listener
from ata_mm.introspection.complexity import (
    Complexity,
    count_complexity,
    view_shape,
)


class StepCost(NamedTuple):
    """Cost of a training.

    Args:
        report (LoadReport, optional): The pretrained weights, if any.
        complexity (Complexity): Parameters and operations of a view.
        seconds (float): Of a step, without data loading.
        matching_seconds (float): Of the matching in it.
        loading_seconds (float): To read the samples of a step, in one process.
        memory (int): Peak memory in bytes, of the GPU or of the process.
        device (str): Where it was measured.
        steps (int): Steps of an epoch.
        workers (int): Processes that read samples.
    """

    report: LoadReport | None
    complexity: Complexity
    seconds: float
    matching_seconds: float
    loading_seconds: float
    memory: int
    device: str
    steps: int
    workers: int

    def __str__(self) -> str:
        cost = self.complexity
        pairs = ', '.join(
            f'{number} frame pairs of {size} patches'
            for size, number in sorted(cost.matchings.items())
        )
        share = self.matching_seconds / self.seconds
        loading = self.loading_seconds / max(self.workers, 1)
        epoch = self.steps * max(self.seconds, loading)
        memory = 'GPU memory' if 'cuda' in self.device else 'process memory'
        return '\n'.join(
            [
                str(self.report or 'no pretrained weights'),
                f'{cost.parameters / 1e6:.1f} M parameters, '
                f'{cost.macs / 1e9:.2f} G multiply-accumulates a clip',
                f'matching of a clip: {pairs or "none"}',
                f'step: {self.seconds:.2f} s on {self.device}, of which '
                f'{self.matching_seconds:.2f} s matching ({share:.0%}); '
                f'peak {memory} {self.memory / 2**30:.1f} GiB',
                f'epoch: {self.steps} steps, about {epoch:.0f} s (samples of '
                f'a step are read in {self.loading_seconds:.2f} s, by '
                f'{self.workers} processes)',
            ]
        )


class _MatchingClock(Listener):
    """Listener that adds up the time of the matching."""

    timed = True

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def on_matching_time(self, seconds: float) -> None:
        """Add a matching."""
        self.seconds += seconds


def measure_step(cfg: Config) -> StepCost:
    """Run two training steps on real samples, and measure the second.

    Args:
        cfg (Config): A training config.

    Returns:
        StepCost: The cost of the training.
    """
    init_default_scope(cfg.default_scope)
    loader = cfg.train_dataloader
    dataset = DATASETS.build(loader.dataset)
    start = time.perf_counter()
    size = min(loader.batch_size, len(dataset))
    batch: list[dict] = [dataset[index] for index in range(size)]
    loading = time.perf_counter() - start
    model = MODELS.build(cfg.model)
    complexity = count_complexity(model, view_shape(cfg))
    report = _load(model, cfg)
    model = model.to(get_device()).train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    clock = _MatchingClock()
    with clock.attach(model):
        for _ in range(2):
            clock.seconds = 0.0
            start = time.perf_counter()
            model.train_step(pseudo_collate(batch), wrapper)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds = time.perf_counter() - start
    return StepCost(
        report,
        complexity,
        seconds,
        clock.seconds,
        loading,
        _peak_memory(),
        get_device(),
        math.ceil(len(dataset) / loader.batch_size),
        loader.num_workers,
    )


def _load(model: nn.Module, cfg: Config) -> LoadReport | None:
    """Read the pretrained weights as the training will."""
    pretrained = cfg.model.backbone.get('pretrained')
    if not pretrained:
        return None
    source = read_checkpoint(pretrained, 'silent')
    return load_pretrained(model.get_submodule('backbone'), source)


def _peak_memory() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
