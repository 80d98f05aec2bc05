# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Routes of recognizers on rendered videos, against their true motion."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint

from ata_mm.datasets import Layer, RenderedDataset
from ata_mm.introspection import (
    AlignmentEvent,
    InformationProbe,
    Listener,
    temporal_taps,
)

from .known_motion import LayeredClip
from .mutual_information import MutualInformation
from .routes import RouteCount, count_followed

_STEPS = (1, 3, 5, 7)
#: Columns of :func:`route_rows`.
ROUTE_COLUMNS = (
    'block',
    'followed per step, %',
    'after 1/3/5/7 steps, %',
    'information in place',
    'aligned',
)


def route_rows(cfg: Config, checkpoint: str, videos: int) -> list[list[str]]:
    """Describe the routes of a trained recognizer, block by block.

    Args:
        cfg (Config): Its config, with a :class:`RenderedDataset` for the test.
        checkpoint (str): Its weights.
        videos (int): Number of test videos.

    Returns:
        list[list[str]]: A row for each temporal module: visible content that
        its routes follow within one cell, per step and after steps from frame
        0; and the mutual information of neighbouring frames before it in nats,
        in place and aligned, beyond that of frames of different videos. '–'
        without routes, and for information if there is just one video.
    """
    model, dataset, indices = _build(cfg, checkpoint, videos)
    probe = InformationProbe(model)
    with probe:
        counts = measure_routes(model, dataset, indices)
    measured = probe.take(len(indices))
    information = MutualInformation().compute_metrics(measured)
    rows = []
    for index, tap in enumerate(temporal_taps(model)):
        own = counts.get(tap.name)
        gains = [
            _gain(information, f'block{index}/before/{quantity}')
            for quantity in ('in_place', 'aligned')
        ]
        shares = ['–', '–']
        if own is not None:
            after = [_percent(own[str(step)]) for step in _STEPS]
            shares = [_percent(own['step']), '/'.join(after)]
        rows.append([str(index), *shares, *gains])
    return rows


def followed_shares(cfg: Config, checkpoint: str, videos: int) -> list[float]:
    """Measure how much of the visible content routes follow per step.

    Args:
        cfg (Config): As in :func:`route_rows`.
        checkpoint (str): The weights.
        videos (int): Number of test videos.

    Returns:
        list[float]: A share for each temporal module with routes, within one
        cell.
    """
    model, dataset, indices = _build(cfg, checkpoint, videos)
    counts = measure_routes(model, dataset, indices)
    names = [tap.name for tap in temporal_taps(model)]
    return [counts[n]['step'].within_share for n in names if n in counts]


def _build(
    cfg: Config, checkpoint: str, videos: int
) -> tuple[BaseModel, RenderedDataset, Sequence[int]]:
    """Return the arguments of :func:`measure_routes`."""
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model).eval()
    load_checkpoint(model, checkpoint, 'cpu', strict=True, logger='silent')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    return model, dataset, range(min(videos, len(dataset)))


def _gain(information: dict[str, float], name: str) -> str:
    """Return the information beyond that of frames of different videos."""
    control = information.get(f'{name}_unrelated')
    return '–' if control is None else f'{information[name] - control:.3f}'


def _percent(count: RouteCount) -> str:
    return f'{100 * count.within_share:.0f}'


class _RouteCounter(Listener):
    """Listener that compares the routes of a clip with its motion."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = LayeredClip(np.empty(0), [])
        self.counts: dict[str, dict[str, RouteCount]] = defaultdict(
            lambda: defaultdict(RouteCount)
        )

    def on_alignment(self, event: AlignmentEvent) -> None:
        """Count the routes of one temporal module."""
        assert event.grid is not None  # backbones know their grid
        counts = count_followed(event.alignment, self.clip, event.grid, _STEPS)
        for step, count in counts.items():
            self.counts[event.name][step] += count


@torch.no_grad()
def measure_routes(
    model: BaseModel, dataset: RenderedDataset, indices: Sequence[int]
) -> dict[str, dict[str, RouteCount]]:
    """Compare the routes of a recognizer with the true motion of videos.

    Args:
        model (BaseModel): The recognizer, in evaluation mode.
        dataset (RenderedDataset): Videos, with a pipeline that crops squares
            as the last change of size or position.
        indices (Sequence[int]): The videos to measure.

    Returns:
        dict[str, dict[str, RouteCount]]: Counts by the name of the temporal
        module and the number of steps, see
        :func:`~ata_mm.evaluation.count_followed`; nothing for modules without
        routes.
    """
    counter = _RouteCounter()
    with counter.attach(model):
        for index in indices:
            sample, counter.clip = _load(dataset, index)
            model.test_step(pseudo_collate([sample]))
    return counter.counts


def _load(dataset: RenderedDataset, index: int) -> tuple[dict, LayeredClip]:
    """Return what the pipeline yields, and the motion in the frames of it."""
    results = dataset.get_data_info(index)
    for transform in dataset.pipeline.transforms:
        results = transform(results)
        if 'imgs' in results:
            cropped = dict(results)  # packing forgets these keys
    left, top, right, _ = cropped['crop_bbox']
    scale = cropped['size'][0] / cropped['original_shape'][1]
    # From the centre of a pixel of the crop to pixels of the video.
    shift = (np.array([left, top]) + 0.5) * scale - 0.5
    resized = np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1]])
    layers = [
        Layer(layer.poses[cropped['frame_inds']] @ resized, layer.extent)
        for layer in cropped['layers']()
    ]
    frames = np.empty((len(cropped['frame_inds']), right - left, 0, 3))
    return results, LayeredClip(frames, layers)
