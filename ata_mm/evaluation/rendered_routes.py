# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Routes of recognizers on rendered videos, against their true motion."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from torch import Tensor, nn

from ata_mm.datasets import RenderedDataset
from ata_mm.introspection import (
    AlignmentEvent,
    InformationProbe,
    Listener,
    temporal_taps,
)
from ata_mm.introspection.listener import Read
from ata_mm.introspection.taps import Tap
from ata_mm.ops import Alignment
from ata_mm.ops.permutation import identity
from ata_mm.ops.types import Grid

from .known_motion import LayeredClip
from .mutual_information import MutualInformation
from .routes import RouteCount, count_followed

_STEPS = (1, 3, 5, 7)
# A sample of a pipeline, and the motion in its frames.
KnownClip = tuple[dict, LayeredClip]
#: Columns of :func:`route_row`.
ROUTE_COLUMNS = (
    'followed per step, %',
    'to the nearest patch, %',
    'after 1/3/5/7 steps, %',
    'information in place',
    'information aligned',
)


def load_clips(dataset: RenderedDataset, videos: int) -> list[KnownClip]:
    """Read videos, and their true motion.

    Args:
        dataset (RenderedDataset): The videos, with a pipeline of one view,
            that crops squares as the last change of size or position.
        videos (int): Number of videos to read, the first.

    Returns:
        list[tuple[dict, LayeredClip]]: What the pipeline yields, and the
        motion in its frames.

    Raises:
        ValueError: If the pipeline takes several views of a video, mirrors or
            distorts them, or resizes them after the crop.
    """
    return [_load(dataset, i) for i in range(min(videos, len(dataset)))]


def describe_routes(
    model: BaseModel, clips: Sequence[KnownClip], information: bool = True
) -> list[dict[str, float]]:
    """Describe the routes of a trained recognizer, block by block.

    Args:
        model (BaseModel): The recognizer, in evaluation mode.
        clips (Sequence[tuple[dict, LayeredClip]]): Those of
            :func:`load_clips`.
        information (bool): Whether to measure the mutual information, most of
            the time. Defaults to True.

    Returns:
        list[dict[str, float]]: For each temporal module, shares of the visible
        content that its routes follow within one cell: ``followed``, per step,
        and ``after1``, ``after3``, ``after5`` and ``after7``, after so many
        steps from frame 0; ``nearest``, per step, to the patch nearest to the
        content. Without routes, those of patches that stay in place. If there
        are two videos or more, the mutual information of neighbouring frames
        before the module in nats, beyond that of frames of different videos:
        ``in_place`` and ``aligned``, by the matching of the paper whatever
        the module matches.
    """
    means: dict[str, float] = {}
    if information:
        probe = InformationProbe(model)
        with probe:
            counts = measure_routes(model, clips)
        means = MutualInformation().compute_metrics(probe.take(len(clips)))
    else:
        counts = measure_routes(model, clips)
    descriptions = []
    for index, tap in enumerate(temporal_taps(model)):
        own = counts[tap.name]
        found = dict(
            followed=own['step'].within_share, nearest=own['step'].exact_share
        )
        for step in _STEPS:
            found[f'after{step}'] = own[str(step)].within_share
        for quantity in ('in_place', 'aligned'):
            name = f'block{index}/before/{quantity}'
            control = means.get(f'{name}_unrelated')
            if control is not None:
                found[quantity] = means[name] - control
        # Nothing is visible, in very few videos.
        found = {k: v for k, v in found.items() if not math.isnan(v)}
        descriptions.append({k: round(v, 4) for k, v in found.items()})
    return descriptions


def route_row(description: dict[str, float]) -> list[str]:
    """Format a description of :func:`describe_routes`.

    Args:
        description (dict[str, float]): That of one temporal module.

    Returns:
        list[str]: Cells of ``ROUTE_COLUMNS``, '–' for what it does not have.
    """

    def formatted(name: str, factor: int = 1, digits: int = 3) -> str:
        value = description.get(name)
        return '–' if value is None else f'{factor * value:.{digits}f}'

    after = [formatted(f'after{step}', 100, 0) for step in _STEPS]
    return [
        formatted('followed', 100, 0),
        formatted('nearest', 100, 0),
        '/'.join(after) if 'followed' in description else '–',
        formatted('in_place'),
        formatted('aligned'),
    ]


class _RouteCounter(Listener):
    """Listener that compares the routes of a clip with its motion."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = LayeredClip(np.empty(0), [])
        self.counts: dict[str, dict[str, RouteCount]] = defaultdict(
            lambda: defaultdict(RouteCount)
        )
        self._aligning: set[str] = set()

    def taps(self, model: nn.Module) -> Sequence[Tap]:
        """Return the outputs of the temporal modules."""
        return temporal_taps(model)

    def on_alignment(self, event: AlignmentEvent) -> None:
        """Count the routes of one temporal module."""
        assert event.grid is not None  # backbones know their grid
        self._aligning.add(event.name)
        self._count(event.name, event.alignment, event.grid)

    def on_patches(self, tap: Tap, x: Tensor, read: Read) -> None:
        """Count the patches of a module that leaves them in place."""
        if tap.name not in self._aligning:
            patches, grid = read(x)
            in_place = Alignment(identity(*patches.shape[:3]))
            self._count(tap.name, in_place, grid)

    def _count(self, name: str, alignment: Alignment, grid: Grid) -> None:
        counts = count_followed(alignment, self.clip, grid, _STEPS)
        for step, count in counts.items():
            self.counts[name][step] += count


@torch.no_grad()
def measure_routes(
    model: BaseModel, clips: Sequence[KnownClip]
) -> dict[str, dict[str, RouteCount]]:
    """Compare the routes of a recognizer with the true motion of videos.

    Args:
        model (BaseModel): The recognizer, in evaluation mode.
        clips (Sequence[tuple[dict, LayeredClip]]): Those of
            :func:`load_clips`.

    Returns:
        dict[str, dict[str, RouteCount]]: Counts by the name of the temporal
        module and the number of steps, see
        :func:`~ata_mm.evaluation.count_followed`; of patches that stay in
        place for a module without routes.
    """
    counter = _RouteCounter()
    with counter.attach(model):
        for sample, counter.clip in clips:
            model.test_step(pseudo_collate([sample]))
    return counter.counts


def _load(dataset: RenderedDataset, index: int) -> KnownClip:
    """Return what the pipeline yields, and the motion in the frames of it."""
    results = dataset.get_data_info(index)
    for transform in dataset.pipeline.transforms:
        results = transform(results)
        if 'imgs' in results:
            cropped = dict(results)  # packing forgets these keys
    box, frames = np.array(cropped.get('crop_bbox')), cropped['frame_inds']
    if box.shape != (4,) or cropped['num_clips'] != 1:
        raise ValueError(
            'Expected a pipeline of one clip (num_clips=1) and one crop '
            '(CenterCrop), to compare routes with the true motion, got '
            f'num_clips={cropped["num_clips"]} and crops {box.shape}.'
        )
    height, width = cropped['original_shape']
    factors = cropped.get('scale_factor', (1.0, 1.0))
    # Resized sides are whole pixels.
    uneven = abs(factors[0] - factors[1]) > 1 / width + 1 / height
    side = int(box[2] - box[0])
    image = tuple(map(int, cropped['img_shape']))
    if cropped.get('flip') or uneven or image != (side, side):
        raise ValueError(
            'Expected frames that are not mirrored, keep their ratio of width '
            'to height, and are cropped to squares last, to compare routes '
            f'with the true motion, got flip={cropped.get("flip", False)}, '
            f'scales of x and y of {factors[0]:.3g} and {factors[1]:.3g}, '
            f'and images of {image} after a crop of side {side}. Change the '
            'pipeline to Resize(keep_ratio=True) and CenterCrop, without Flip.'
        )
    scale = cropped['size'][0] / (width * factors[0])
    layers = [
        layer.seen(frames, scale, box[:2]) for layer in cropped['layers']()
    ]
    # Of the frames, only the side is used.
    return results, LayeredClip(np.empty((len(frames), side, 0, 3)), layers)
