# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The features that ATA compares, at every block of a backbone."""

import torch
from torch import Tensor, nn

from ata_mm.introspection import (
    AlignmentEvent,
    Listener,
    Tap,
    before_tap,
    temporal_taps,
)
from ata_mm.introspection.listener import Read
from ata_mm.models import ATABackbone
from ata_mm.ops.types import Grid


@torch.no_grad()
def patch_features(
    backbone: nn.Module, frames: Tensor, num_frames: int
) -> dict[str, tuple[Tensor, Grid]]:
    """Compute the patches before each temporal module of a backbone.

    Args:
        backbone (nn.Module): A backbone of ata_mm, such as an
            :class:`~ata_mm.models.ATABackbone` around an image model.
        frames (Tensor): Normalised frames (T, 3, H, W).
        num_frames (int): Frames of the backbone's clips, a divisor of T; 1 for
            an image model.

    Returns:
        dict[str, tuple[Tensor, tuple[int, int]]]: By the name of the image
        block of an `ATABackbone`, or of the temporal module: features
        (1, T, N, C), those that an `ATA` matches, and their grid.
    """
    clips = frames.unflatten(0, (-1, num_frames))
    collector = _Collector()
    with collector.attach(backbone):
        backbone(clips.transpose(1, 2))
    found = collector.found
    if isinstance(backbone, ATABackbone):
        found = dict(zip(backbone.block_names, found.values()))
    return {
        name: (x.flatten(0, 1)[None], grid)
        for name, (x, grid) in found.items()
    }


class _Collector(Listener):
    """Listener that collects the patches before the temporal modules."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, tuple[Tensor, Grid]] = {}

    def taps(self, model: nn.Module) -> list[Tap]:
        """Return the taps before the temporal modules."""
        return [before_tap(tap) for tap in temporal_taps(model)]

    def on_patches(self, tap: Tap, x: Tensor, read: Read) -> None:
        """Collect patches."""
        self.found[tap.name] = read(x)

    def on_alignment(self, event: AlignmentEvent) -> None:
        """Replace them by the features that an ATA has compared."""
        _, grid = self.found[event.name]
        self.found[event.name] = event.features, grid
