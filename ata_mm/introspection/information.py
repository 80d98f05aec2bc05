# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Mutual information of neighbouring frames at the blocks of a model."""

from collections import defaultdict
from typing import Dict, List, Optional, Sequence, Union

import torch
from torch import Tensor, nn

from ata_mm.ops import (
    align_frames,
    mutual_information,
    positionwise_mutual_information,
)
from ata_mm.ops.types import Grid

from .listener import Listener, Read
from .taps import Tap, before_tap, temporal_taps


def measure(
    x: Tensor, temperature: float, grid: Optional[Grid] = None
) -> Dict[str, Tensor]:
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
        along the routes that `ATA` finds in these features.
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


class InformationProbe(Listener):
    """Listener that measures the features around temporal modules.

    Attached to the model from construction until `detach`, or until the end of
    a ``with`` statement.

    Class tokens are left out. ``before`` block 0 of a ViT are the patch
    embeddings, including the position embedding.

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
        >>> first['block0/before/all_pairs']
    """

    def __init__(
        self,
        model: nn.Module,
        blocks: Union[str, Sequence[int]] = 'all',
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        self.blocks = _check_blocks(blocks, len(temporal_taps(model)))
        self.temperature = temperature
        self.num_patches: Dict[str, int] = {}
        self._values: Dict[str, List[Tensor]] = defaultdict(list)
        self.attach(model)

    def taps(self, model: nn.Module) -> List[Tap]:
        """Return two taps for each block, named 'block0/before' and so on."""
        after = temporal_taps(model)
        return [
            tap._replace(name=f'block{index}/{when}')
            for index in self.blocks
            for when, tap in (
                ('before', before_tap(after[index])),
                ('after', after[index]),
            )
        ]

    def on_patches(self, tap: Tap, x: Tensor, read: Read) -> None:
        """Measure patches."""
        patches, grid = read(x)
        self.num_patches[tap.name] = patches.shape[2]
        values = measure(patches, self.temperature, grid)
        for quantity, value in values.items():
            self._values[f'{tap.name}/{quantity}'].append(value.cpu())

    def take(self, num_videos: int) -> List[Dict[str, float]]:
        """Return and forget the measurements since the last call.

        Args:
            num_videos (int): Number of videos that the model has processed
                since then: the views of the first, of the second, and so on.

        Returns:
            list[dict[str, float]]: For each video, the means over its views,
            by names such as 'block0/after/aligned'.
        """
        means = {
            name: torch.cat(values).unflatten(0, (num_videos, -1)).mean(1)
            for name, values in self._values.items()
        }
        self._values.clear()
        return [
            {name: value[index].item() for name, value in means.items()}
            for index in range(num_videos)
        ]


def _check_blocks(
    blocks: Union[str, Sequence[int]], number: int
) -> Sequence[int]:
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
