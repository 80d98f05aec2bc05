# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Mutual information of neighbouring frames at the blocks of a model."""
from collections import defaultdict
from typing import Callable, Dict, List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from ata_mm.ops import (
    align_frames,
    mutual_information,
    positionwise_mutual_information,
)


def measure(x: Tensor,
            temperature: float,
            grid: Optional[Tuple[int, int]] = None) -> Dict[str, Tensor]:
    """Mutual information of neighbouring frames, in nats.

    Args:
        x (Tensor): Patch features (B, T, N, C).
        temperature (float): Divides the similarities.
        grid (tuple[int, int], optional): Height and width of the patch grid.
            Defaults to None.

    Returns:
        dict[str, Tensor]: Of each clip, (B,): ``all_pairs``, see
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
            alignment.align(x), temperature))


class InformationProbe:
    """Measures a model's features before and after its temporal modules.

    Class tokens are left out. ``before`` block 0 of a ViT are the patch
    embeddings, the position embedding included.

    Args:
        model (nn.Module): A recognizer.
        blocks (str | Sequence[int]): Temporal modules to look at: 'all', or
            their indices. Defaults to 'all'.
        temperature (float): Divides the similarities. Defaults to 0.1.

    Raises:
        ValueError: If the model has no temporal module, or not those.

    Attributes:
        num_patches (dict[str, int]): Patches a frame, N, of what has been
            measured, by names such as 'block0/before'.

    Example:
        >>> with InformationProbe(model) as probe:
        >>>     model.test_step(batch)
        >>> first, second = probe.take(2)  # of 2 videos
        >>> first['block0/before/all_pairs']
    """

    def __init__(self,
                 model: nn.Module,
                 blocks: Union[str, Sequence[int]] = 'all',
                 temperature: float = 0.1) -> None:
        # Imported late: matplotlib, beside it, takes about a second.
        from .taps import before_tap, temporal_taps
        self.temperature = temperature
        taps = temporal_taps(model)
        self._taps = {
            f'block{index}/{when}': tap
            for index in _chosen(blocks, len(taps))
            for when, tap in (('before', before_tap(taps[index])),
                              ('after', taps[index]))
        }
        self.num_patches: Dict[str, int] = {}
        self._handles = []
        self._values = defaultdict(list)

    def __enter__(self) -> 'InformationProbe':
        self._handles = [
            tap.listen(self._listener(name))
            for name, tap in self._taps.items()
        ]
        return self

    def __exit__(self, *exception) -> None:
        for handle in self._handles:
            handle.remove()

    def take(self, num_videos: int) -> List[Dict[str, float]]:
        """Hand out what has been measured since the last call.

        Args:
            num_videos (int): How many videos have been through the model.
                Their clips are the views of the first, of the second, ….

        Returns:
            list[dict[str, float]]: Of each video, the mean over its views, by
            names such as 'block0/after/aligned'.
        """
        means = {
            name: torch.cat(values).unflatten(0, (num_videos, -1)).mean(1)
            for name, values in self._values.items()
        }
        self._values.clear()
        return [{
            name: value[index].item()
            for name, value in means.items()
        } for index in range(num_videos)]

    def _listener(self, name: str) -> Callable[[Tensor, Callable], None]:

        def listen(x: Tensor, read: Callable) -> None:
            patches, grid = read(x)
            self.num_patches[name] = patches.shape[2]
            values = measure(patches, self.temperature, grid)
            for quantity, value in values.items():
                self._values[f'{name}/{quantity}'].append(value.cpu())

        return listen


def _chosen(blocks: Union[str, Sequence[int]], number: int) -> Sequence[int]:
    if number == 0:
        raise ValueError('Expected a model with temporal modules, such as '
                         'ATATimeSformer or a recipe with ATANeck, got one '
                         'without.')
    if blocks == 'all':
        return range(number)
    if isinstance(blocks, (str, int)) or not set(blocks) <= set(range(number)):
        raise ValueError(f"Expected blocks='all' or indices from 0 to "
                         f'{number - 1}, got {blocks!r}.')
    return blocks
