# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Statistics of the alignments that a model computes."""

from typing import NamedTuple

import torch
from torch import Tensor

from ata_mm.ops import Alignment
from ata_mm.ops.types import Grid

from .listener import AlignmentEvent, Listener


class AlignedClip(NamedTuple):
    """First clip of a batch at one temporal module.

    Args:
        alignment (Alignment): Its alignment, (1, T, N).
        similarity (Tensor): Cosine similarity of each step of each route,
            (1, T-1, N).
        grid (tuple[int, int], optional): Height and width of the patch grid.
    """

    alignment: Alignment
    similarity: Tensor
    grid: Grid | None


class AlignmentRecord(Listener):
    """Listener that averages over alignments, without matching again.

    Alignments that several modules share count once.

    Attributes:
        seconds (float): Time spent on matching since `restart`.
        first (AlignedClip | None): The first clip of the first alignment since
            `restart`.
    """

    timed = True

    def __init__(self) -> None:
        super().__init__()
        self.restart()

    def restart(self) -> None:
        """Discard the statistics and record."""
        self.paused = False
        self.seconds = 0.0
        self.first: AlignedClip | None = None
        self._means: dict[str, list[Tensor]] = {}

    def stop(self) -> None:
        """Record nothing until `restart`."""
        self.paused = True

    def means(self) -> dict[str, float]:
        """Average over all routes and modules.

        Returns:
            dict[str, float]: 'displacement', the length of a step of a route
            in patches (only of modules that know their grid); 'in_place', the
            share of steps that stay at their position; 'similarity', the
            cosine similarity of the patches of a step, without the support
            window; 'rejected', the share of matches that are (only of modules
            with ``min_similarity``).
        """
        return {
            name: torch.stack(values).mean().item()
            for name, values in self._means.items()
        }

    def on_matching_time(self, seconds: float) -> None:
        """Add the time of a matching."""
        self.seconds += seconds

    @torch.no_grad()  # values of a soft alignment would keep its graph
    def on_alignment(self, event: AlignmentEvent) -> None:
        """Add an alignment, unless it is reused."""
        if not event.computed:
            return
        alignment, grid = event.alignment, event.grid
        similarity = alignment.similarity(event.features)
        if self.first is None:
            self.first = AlignedClip(alignment.clip(0), similarity[:1], grid)
        if alignment.shape[1] == 1:  # no steps
            return
        stays = alignment.places.diff(dim=1) == 0
        values = dict(in_place=stays.float(), similarity=similarity)
        if grid is not None:
            values['displacement'] = alignment.displacement(grid)
        if alignment.segments is not None:
            values['rejected'] = 1 - alignment.accepted[:, 1:].float()
        # Kept on the device, without synchronisation, until means() is asked.
        for name, value in values.items():
            self._means.setdefault(name, []).append(value.mean())
