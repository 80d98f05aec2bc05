# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Planes that move before the camera: the true motion of rendered clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Layer:
    """Plane that moves before the camera.

    Args:
        poses (np.ndarray): Affine maps from the pixels (x, y) of each frame to
            the plane, (T, 2, 3).
        extent (tuple[float, float], optional): Largest x and y of the plane;
            the least are 0. Defaults to None, unlimited.
    """

    poses: np.ndarray
    extent: tuple[float, float] | None = None

    def move(self, points: np.ndarray, source: int, target: int) -> np.ndarray:
        """Map pixels (..., 2) of one frame to those of another."""
        plane = _apply(self.poses[source], points)
        return _apply(cv2.invertAffineTransform(self.poses[target]), plane)

    def seen(
        self,
        frames: Sequence[int],
        scale: float,
        corner: tuple[float, float] = (0, 0),
    ) -> 'Layer':
        """Return the plane as it is in frames that were resized and cropped.

        Args:
            frames (Sequence[int]): Indices of the frames that were taken.
            scale (float): Pixels of a frame in a pixel of a resized one.
            corner (tuple[float, float]): First column and row of the crop, in
                pixels of the resized frame. Defaults to (0, 0).

        Returns:
            Layer: The plane, whose frames are those taken.
        """
        # Pixels are squares, whose centres are half a pixel from their corner.
        x, y = (np.array(corner) + 0.5) * scale - 0.5
        resized = np.array([[scale, 0, x], [0, scale, y], [0, 0, 1]])
        return Layer(self.poses[list(frames)] @ resized, self.extent)

    def covers(self, points: np.ndarray, frame: int) -> np.ndarray:
        """Return whether pixels (..., 2) of a frame show the plane."""
        if self.extent is None:
            return np.ones(points.shape[:-1], bool)
        plane = _apply(self.poses[frame], points)
        return np.all((plane >= 0) & (plane <= self.extent), axis=-1)


def shown_layer(
    layers: Sequence[Layer], points: np.ndarray, frame: int
) -> np.ndarray:
    """Return the index of the plane that pixels of a frame show.

    Args:
        layers (Sequence[Layer]): The planes, the farthest first; that one is
            unlimited.
        points (np.ndarray): Pixels (x, y), (..., 2).
        frame (int): Index of the frame.

    Returns:
        np.ndarray: (...), int64.
    """
    shown = np.zeros(points.shape[:-1], np.int64)
    for index, layer in enumerate(layers):
        shown[layer.covers(points, frame)] = index
    return shown


def draw_plane(
    frames: np.ndarray, picture: np.ndarray, poses: np.ndarray
) -> None:
    """Draw a plane into frames, in place.

    Args:
        frames (np.ndarray): (T, H, W, 3), float32.
        picture (np.ndarray): What the plane shows, likewise, one frame of any
            size.
        poses (np.ndarray): Affine maps, see :class:`Layer`, (T, 2, 3).
    """
    for frame, pose in zip(frames, poses):
        cv2.warpAffine(
            picture,
            pose,
            frame.shape[1::-1],
            dst=frame,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_TRANSPARENT,
        )


def _apply(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply an affine map (2, 3) to points (..., 2)."""
    return points @ pose[:, :2].T + pose[:, 2]
