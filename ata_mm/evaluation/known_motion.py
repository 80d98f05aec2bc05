# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Clips whose motion is known: the truth that routes are compared with."""

from collections.abc import Sequence

import numpy as np

from ata_mm.datasets.layers import Layer, shown_layer
from ata_mm.ops.types import Grid

# A patch has one motion if at least this share of it has.
_MAJORITY = 0.75


class MovingClip:
    """Base class of clips whose motion is known.

    Args:
        frames (np.ndarray): T square frames (T, S, S, 3), uint8, RGB.
    """

    def __init__(self, frames: np.ndarray) -> None:
        self.frames = frames

    def follow(self, grid: Grid, source: int, target: int) -> np.ndarray:
        """Return the positions in one frame of the content of another.

        Args:
            grid (tuple[int, int]): Height and width of the patch grid.
            source (int): Index of the frame whose patches are followed.
            target (int): Index of the other frame.

        Returns:
            np.ndarray: Row and column in patches, (N, 2), of the content of
            each patch; outside of the grid if it has left the frame, infinite
            if something hides it, NaN if its motion is not known.
        """
        raise NotImplementedError


class LayeredClip(MovingClip):
    """Clip of moving planes.

    Args:
        frames (np.ndarray): T square frames (T, S, S, 3), uint8, RGB.
        layers (Sequence[Layer]): The planes, the farthest first; that one is
            unlimited.
    """

    def __init__(self, frames: np.ndarray, layers: Sequence[Layer]) -> None:
        super().__init__(frames)
        self.layers = layers
        self._followed: dict[tuple[Grid, int, int], np.ndarray] = {}

    def follow(self, grid: Grid, source: int, target: int) -> np.ndarray:
        """Return the positions in one frame of the content of another.

        The motion of a patch that shows two planes is not known. The positions
        are kept, for other modules and checkpoints.
        """
        key = grid, source, target
        if key not in self._followed:
            self._followed[key] = self._follow(grid, source, target)
        return self._followed[key]

    def _follow(self, grid: Grid, source: int, target: int) -> np.ndarray:
        side = self.frames.shape[1] / grid[0]
        centres = (_patches(grid)[:, ::-1] + 0.5) * side - 0.5  # x, y
        # 4 x 4 samples of each patch, (N, 16, 2).
        offsets = _patches((4, 4)) - 1.5
        samples = centres[:, None] + offsets * side / 4
        shown = shown_layer(self.layers, samples, source)
        owner = np.full(len(centres), -1)
        result = np.full(centres.shape, np.nan)
        moved = np.full(samples.shape, np.nan)
        for index in np.unique(shown):
            own = (shown == index).mean(1) >= _MAJORITY
            layer, owner[own] = self.layers[index], index
            moved[own] = layer.move(samples[own], source, target)
            result[own] = layer.move(centres[own], source, target)
        covering = shown_layer(self.layers, moved, target)
        hidden = (covering != owner[:, None]).mean(1)
        known = owner >= 0
        result[known & (hidden > 1 - _MAJORITY)] = np.nan
        result[known & (hidden >= _MAJORITY)] = np.inf
        return (result[:, ::-1] + 0.5) / side - 0.5


class StereoPair(MovingClip):
    """Left and right view of a rectified stereo pair, as two frames.

    Args:
        frames (np.ndarray): The views, (2, S, S, 3), uint8, RGB.
        disparity (np.ndarray): Pixels by which the content of the left view is
            further left in the right one, (S, S); not finite where unknown.
    """

    def __init__(self, frames: np.ndarray, disparity: np.ndarray) -> None:
        super().__init__(frames)
        self.disparity = disparity

    def follow(
        self, grid: Grid, source: int = 0, target: int = 1
    ) -> np.ndarray:
        """Return the positions in the right view of the content of the left.

        The motion of a patch with disparities that differ by more than half a
        patch is not known.

        Raises:
            ValueError: If the frames are others than 0 and 1, in this order.
        """
        if (source, target) != (0, 1):
            raise ValueError(
                'Expected source 0 and target 1, the direction of the '
                f'disparity, got {source} and {target}.'
            )
        side = self.frames.shape[1] // grid[0]
        disparity = _by_patch(self.disparity, side)  # (N, pixels)
        hidden = _by_patch(_hidden_on_the_right(self.disparity), side).mean(1)
        disparity = np.where(np.isfinite(disparity), disparity, np.nan)
        known = np.isfinite(disparity).mean(1) >= _MAJORITY
        low, middle, high = np.nanpercentile(
            disparity[known], (10, 50, 90), axis=1
        )
        moved = _patches(grid)[known].astype(float)
        moved[:, 1] -= middle / side
        hidden = hidden[known]
        moved[(high - low > side / 2) | (hidden > 1 - _MAJORITY)] = np.nan
        moved[hidden >= _MAJORITY] = np.inf
        result = np.full((len(known), 2), np.nan)
        result[known] = moved
        return result


def _patches(grid: Grid) -> np.ndarray:
    """Return row and column of each patch, (N, 2)."""
    return np.stack(np.divmod(np.arange(grid[0] * grid[1]), grid[1]), 1)


def _by_patch(image: np.ndarray, side: int) -> np.ndarray:
    """Cut an image (H, W) into square patches: (N, side * side)."""
    rows, columns = (length // side for length in image.shape)
    patches = image.reshape(rows, side, columns, side).swapaxes(1, 2)
    return patches.reshape(rows * columns, side * side)


def _hidden_on_the_right(disparity: np.ndarray) -> np.ndarray:
    """Return which pixels of the left view something nearer hides, (H, W)."""
    height, width = disparity.shape
    row, column = np.nonzero(np.isfinite(disparity))
    values = disparity[row, column]
    target = (column - values).round().astype(int)
    inside = (target >= 0) & (target < width)
    row, column, values, target = (
        x[inside] for x in (row, column, values, target)
    )
    nearest = np.full((height, width), -np.inf)
    np.maximum.at(nearest, (row, target), values)
    hidden = np.zeros((height, width), bool)
    # A pixel more than a pixel nearer is another surface.
    hidden[row, column] = nearest[row, target] > values + 1
    return hidden
