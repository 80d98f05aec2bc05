# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Mutual information of neighbouring frames at the blocks of a model."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ata_mm.models import ATATimeSformer
from ata_mm.models.backbones.base import VideoBackbone
from ata_mm.ops import (
    align_frames,
    mutual_information,
    positionwise_mutual_information,
)
from ata_mm.ops.types import Grid

from .listener import Listener, Read
from .taps import (
    Tap,
    before_tap,
    embedding_tap,
    final_tap,
    temporal_taps,
)

_INPUT = 'input'  # name of the tap on the input of the model


def measure(
    x: Tensor, temperature: float, grid: Grid | None = None
) -> dict[str, Tensor]:
    """Compute the mutual information of neighbouring frames, in nats.

    Args:
        x (Tensor): Patch features (B, T, N, C).
        temperature (float): Temperature of the softmax over similarities.
        grid (tuple[int, int], optional): Height and width of the patch grid.
            Defaults to None.

    Returns:
        dict[str, Tensor]: For each clip, (B,): ``all_pairs``, see
        :func:`~ata_mm.ops.mutual_information`; ``in_place`` and ``aligned``,
        see :func:`~ata_mm.ops.positionwise_mutual_information`, the latter
        along the routes of these features, matched as in the paper.
    """
    x = x.detach()
    alignment = align_frames(x, grid=grid)
    return dict(
        all_pairs=mutual_information(x, temperature),
        in_place=positionwise_mutual_information(x, temperature),
        aligned=positionwise_mutual_information(
            alignment.align(x), temperature
        ),
    )


def measure_unrelated(
    x: Tensor, other: Tensor, temperature: float, grid: Grid | None = None
) -> dict[str, float]:
    """Compute the mutual information of frames of different videos, in nats.

    The control of :func:`measure`. The matching maximises similarity and with
    it the estimate, whether two frames have anything in common or not: only
    what neighbouring frames have beyond unrelated ones is common content.

    Args:
        x (Tensor): Patch features of a clip, (T, N, C).
        other (Tensor): Those of a clip of another video, (T, N, C). Its frame
            t is paired with frame t + 1 of x.
        temperature (float): Temperature of the softmax over similarities.
        grid (tuple[int, int], optional): Height and width of the patch grid.
            Defaults to None.

    Returns:
        dict[str, float]: The quantities of :func:`measure`, averaged over the
        pairs, by names such as ``aligned_unrelated``.
    """
    pairs = torch.stack([other[:-1], x[1:]], 1)  # (T-1, 2, N, C)
    return {
        f'{quantity}_unrelated': value.mean().item()
        for quantity, value in measure(pairs, temperature, grid).items()
    }


class InformationProbe(Listener):
    """Listener that measures the features around temporal modules.

    Attached to the model from construction until `detach`, or until the end of
    a ``with`` statement.

    Two more points are those of Table 4. ``embedding`` are the patch
    embeddings of `ATATimeSformer`, without position and time, which the paper
    calls "None"; ``block0/before`` contains the two. ``final`` are the last
    patches of a backbone of ata_mm; see
    :func:`~ata_mm.introspection.final_tap`. Class tokens are left out.

    As a control, the frames of each clip are also paired with those of the
    last clip of the previous video, see :func:`measure_unrelated`. The first
    video has no control, nor has one that differs from the previous one in the
    shape of its clips.

    Args:
        model (nn.Module): A recognizer.
        blocks (str | Sequence[int]): Temporal modules to measure: 'all', or
            their indices. Defaults to 'all'.
        temperature (float): Temperature of the softmax over similarities.
            Defaults to 0.1.

    Raises:
        ValueError: If the model has no temporal module, or an index is out of
            range.

    Attributes:
        num_patches (dict[str, int]): Patches a frame, N, of what has been
            measured, by names such as 'block0/before'.

    Example:
        >>> with InformationProbe(model) as probe:
        ...     model.test_step(batch)
        >>> first, second = probe.take(2)  # of 2 videos
        >>> second['block0/after/aligned']
        >>> second['block0/after/aligned_unrelated']
    """

    def __init__(
        self,
        model: nn.Module,
        blocks: str | Sequence[int] = 'all',
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        self.blocks = _check_blocks(blocks, len(temporal_taps(model)))
        self.temperature = temperature
        self.num_patches: dict[str, int] = {}
        # The values of each clip since `take`, by the name of a tap.
        self._values: dict[str, list[dict[str, float]]] = defaultdict(list)
        self._other_videos: dict[str, _OtherVideo] = defaultdict(_OtherVideo)
        self._num_taken = 0
        self._input_shape = torch.Size()
        self.attach(model)

    def taps(self, model: nn.Module) -> list[Tap]:
        """Return the taps that are measured, in the order of the model.

        Two for each block, named 'block0/before' and so on, between
        'embedding' and 'final'. The first of all is the input of the model,
        whose shape tells how many clips each video has.
        """
        after = temporal_taps(model)
        taps = [
            tap._replace(name=f'block{index}/{when}')
            for index in self.blocks
            for when, tap in (
                ('before', before_tap(after[index])),
                ('after', after[index]),
            )
        ]
        backbone = getattr(model, 'backbone', None)
        if isinstance(backbone, ATATimeSformer):
            taps.insert(0, embedding_tap(backbone))
        if isinstance(backbone, VideoBackbone):
            taps.append(final_tap(model))
        return [_input_tap(model), *taps]

    def on_patches(self, tap: Tap, x: Tensor, read: Read) -> None:
        """Measure patches."""
        if tap.name == _INPUT:
            self._input_shape = x.shape
            return
        patches, grid = read(x)
        patches = patches.detach()
        self.num_patches[tap.name] = patches.shape[2]
        values = measure(patches, self.temperature, grid)
        measured = self._values[tap.name]
        num_views = self._num_views(len(patches))
        for index, clip in enumerate(patches):
            video = self._num_taken + len(measured) // num_views
            other = self._other_videos[tap.name].of(video, clip)
            control = {}
            if other is not None and other.shape == clip.shape:
                control = measure_unrelated(
                    clip, other, self.temperature, grid
                )
            own = {name: value[index].item() for name, value in values.items()}
            measured.append({**own, **control})

    def take(self, num_videos: int) -> list[dict[str, float]]:
        """Return and forget the measurements since the last call.

        Args:
            num_videos (int): Number of videos that the model has processed
                since then: the views of the first, of the second, and so on.

        Returns:
            list[dict[str, float]]: For each video, the means over its views,
            by names such as 'block0/after/aligned' and, if the video has a
            control, 'block0/after/aligned_unrelated'.
        """
        videos: list[dict[str, float]] = [{} for _ in range(num_videos)]
        for name, clips in self._values.items():
            num_views = len(clips) // num_videos
            for index, video in enumerate(videos):
                views = clips[index * num_views : (index + 1) * num_views]
                for quantity in views[0]:
                    video[f'{name}/{quantity}'] = float(
                        np.mean([view[quantity] for view in views])
                    )
        self._values.clear()
        self._num_taken += num_videos
        return videos

    def _num_views(self, num_clips: int) -> int:
        """Return the number of clips of each video."""
        if len(self._input_shape) == 6:  # (videos, views, 3, T, H, W)
            return self._input_shape[1]
        return num_clips // self._input_shape[0]  # (videos, frames, 3, H, W)


class _OtherVideo:
    """The last clip of the previous video, at one tap."""

    def __init__(self) -> None:
        self._video = -1
        self._last: Tensor | None = None
        self._previous: Tensor | None = None

    def of(self, video: int, clip: Tensor) -> Tensor | None:
        """Return the last clip of the video before this one.

        Args:
            video (int): Number of the video.
            clip (Tensor): Its next clip.
        """
        if video != self._video:
            self._video, self._previous = video, self._last
        self._last = clip.clone()  # a view would keep the whole batch
        return self._previous


def _input_tap(model: nn.Module) -> Tap:
    """Return a tap on the input of a recognizer, which is not to be read."""
    return before_tap(temporal_taps(model)[0])._replace(
        name=_INPUT, kind=type(model).__name__, module=model
    )


def _check_blocks(blocks: str | Sequence[int], number: int) -> Sequence[int]:
    if number == 0:
        raise ValueError(
            'Expected a model with temporal modules, such as '
            'ATATimeSformer or a recipe with ATANeck, got one '
            'without.'
        )
    if blocks == 'all':
        return range(number)
    if isinstance(blocks, (str, int)) or not set(blocks) <= set(range(number)):
        raise ValueError(
            f"Expected blocks='all' or indices from 0 to "
            f'{number - 1}, got {blocks!r}.'
        )
    return blocks
