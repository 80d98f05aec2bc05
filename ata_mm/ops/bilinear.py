# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Reading maps between their patches, and writing back."""
from typing import Tuple

import torch
from torch import Tensor

# Below this weight, what is written fades to 0 instead of being divided by
# ever less, which bounds the gradient too.
_MIN_COVER = 0.1


class BilinearSampling:
    """Bilinear sampling at places of a grid, and its normalised adjoint.

    Exact to the bit where all places are integers, which
    `torch.nn.functional.grid_sample` is not, for its coordinates of -1..1; and
    rows of (P, N, C) are read as they lie in memory.

    Args:
        places (Tensor): Row and column of each place in patches, (P, N, 2),
            0 to height - 1 and 0 to width - 1. Gradients flow into them.
        grid (tuple[int, int]): Height and width of the maps.
    """

    def __init__(self, places: Tensor, grid: Tuple[int, int]) -> None:
        low = places.detach().floor()
        part = places - low
        high = torch.minimum(low + 1, low.new_tensor(grid) - 1).long()
        low = low.long()
        # The four patches around a place, and their weights: (P, N, 4).
        self.index = torch.stack([
            row[..., 0] * grid[1] + column[..., 1] for row in (low, high)
            for column in (low, high)
        ], -1)
        self.weight = torch.stack([
            row * column for row in (1 - part[..., 0], part[..., 0])
            for column in (1 - part[..., 1], part[..., 1])
        ], -1)
        start = torch.arange(len(places), device=places.device)
        rows = self.index + start[:, None, None] * (grid[0] * grid[1])
        self._rows = rows.flatten(0, 1).t().contiguous()  # (4, P*N)
        self._cover = self._add(torch.ones_like(places[..., :1]))

    def read(self, maps: Tensor) -> Tensor:
        """Values at the places: (P, N, C) in order of patches -> (P, N, C) in
        order of places, in the precision of the maps."""
        rows = maps.reshape(-1, maps.shape[-1])
        read = sum(
            rows.index_select(0, index).view_as(maps) * weight[..., None]
            for index, weight in zip(self._rows, self.weight.unbind(-1)))
        return read.to(maps.dtype)

    def write(self, values: Tensor) -> Tensor:
        """Means of the values at the places around each patch, weighted as
        `read` does: (P, N, C) in order of places -> (P, N, C) in order of
        patches. 0 at patches that are next to no place."""
        written = self._add(values) / self._cover.clamp_min(_MIN_COVER)
        return written.to(values.dtype)

    def _add(self, values: Tensor) -> Tensor:
        """The adjoint of `read`."""
        parts = [(values * weight[..., None]).flatten(0, 1)
                 for weight in self.weight.unbind(-1)]
        total = torch.zeros_like(parts[0])
        for index, part in zip(self._rows, parts):
            total = total.index_add(0, index, part)
        return total.view(values.shape)
