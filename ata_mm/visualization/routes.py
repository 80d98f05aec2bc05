# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Drawings of the routes of chosen patches (paper, Sec. 3.3)."""

from typing import List, Optional, Sequence, Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from ata_mm.ops import Alignment
from ata_mm.ops.types import Grid

from .canvas import (
    COLOURS,
    DPI,
    frame_figure,
    frame_labels,
    outline,
    render,
    show_frame,
)

#: Row and column of a patch.
Patch = Tuple[int, int]


def draw_routes(
    frames: Sequence[np.ndarray],
    alignment: Alignment,
    grid: Grid,
    patches: Sequence[Patch],
    similarity: Optional[Tensor] = None,
    clip: int = 0,
    start: int = 0,
    width: int = 480,
) -> List[np.ndarray]:
    """Draw the routes of chosen patches into the frames of a clip.

    Every route has a colour, a box around its patch in each frame, and a trail
    of its previous positions, with the similarity of its last step beside the
    box.

    Args:
        frames (Sequence[np.ndarray]): T frames (H, W, 3), uint8, RGB.
        alignment (Alignment): Routes (B, T, N).
        grid (tuple[int, int]): Rows and columns of the patches, N in all.
        patches (Sequence[tuple[int, int]]): Row and column of each patch.
        similarity (Tensor, optional): Similarity of each step of each route,
            (B, T-1, N), as ``alignment.similarity(x)`` returns. Defaults to
            None, not written.
        clip (int): Index of the clip among B. Defaults to 0.
        start (int): Index of the frame in which ``patches`` are. Defaults to
            0.
        width (int): Width of the images in pixels. Defaults to 480.

    Returns:
        list[np.ndarray]: T images (H, W, 3), uint8, RGB.

    Raises:
        ValueError: If the number of frames is not T, the grid does not hold N
            patches, or a patch or the start is out of range.
    """
    tracks = _tracks(frames, alignment, grid, patches, similarity, clip, start)
    images = []
    for t, frame in enumerate(frames):
        figure, ax = frame_figure(frame, width)
        show_frame(ax, frame, grid, shade=0.25)
        for track in tracks:
            track.draw(ax, t)
        images.append(render(figure))
    return images


def routes_figure(
    frames: Sequence[np.ndarray],
    alignment: Alignment,
    grid: Grid,
    patches: Sequence[Patch],
    similarity: Optional[Tensor] = None,
    clip: int = 0,
    start: int = 0,
    labels: Optional[Sequence[str]] = None,
    columns: int = 4,
) -> Figure:
    """Draw the routes of chosen patches as one figure.

    Args:
        frames (Sequence[np.ndarray]): T frames (H, W, 3), uint8, RGB.
        alignment (Alignment): Routes (B, T, N).
        grid (tuple[int, int]): Rows and columns of the patches, N in all.
        patches (Sequence[tuple[int, int]]): Row and column of each patch.
        similarity (Tensor, optional): As in :func:`draw_routes`. Defaults to
            None, not written.
        clip (int): Index of the clip among B. Defaults to 0.
        start (int): Index of the frame in which ``patches`` are. Defaults to
            0.
        labels (Sequence[str], optional): Titles of the T frames. Defaults to
            None, ``'t = 0'``, ``'t = 1'``, … .
        columns (int): Maximum number of frames per row. Defaults to 4.

    Returns:
        Figure: To be saved as PNG, PDF or SVG.

    Raises:
        ValueError: As :func:`draw_routes`.
    """
    tracks = _tracks(frames, alignment, grid, patches, similarity, clip, start)
    labels = frame_labels(labels, len(frames))
    columns = min(columns, len(frames))
    rows = -(-len(frames) // columns)
    aspect = frames[0].shape[0] / frames[0].shape[1]
    size = 3.2 * columns, (3.2 * aspect + 0.3) * rows
    figure = Figure(size, dpi=2 * DPI, layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for ax in axes:  # also those without a frame, in the last row
        ax.axis('off')
    for t, (ax, frame) in enumerate(zip(figure.axes, frames)):
        show_frame(ax, frame, grid, shade=0.25)
        ax.set_title(labels[t], fontsize=9, loc='left', pad=4)
        for track in tracks:
            track.draw(ax, t)
    return figure


def choose_patches(
    frames: Sequence[np.ndarray],
    grid: Grid,
    number: int = 5,
    similarity: Optional[Tensor] = None,
) -> List[Patch]:
    """Choose patches of frame 0 whose routes are informative.

    The patches change much from frame 0 to frame 1, have a high similarity at
    every step, and are spread over the frame.

    Args:
        frames (Sequence[np.ndarray]): Frames (H, W, 3), uint8, RGB.
        grid (tuple[int, int]): Rows and columns of the patches, N in all.
        number (int): Maximum number of patches. Defaults to 5.
        similarity (Tensor, optional): Similarity of each step of each route,
            (T-1, N). Defaults to None, not considered.

    Returns:
        list[tuple[int, int]]: Row and column of each patch, the best first.
    """
    score = _change(frames[0], frames[min(1, len(frames) - 1)], grid)
    if similarity is not None and len(similarity):
        # A route is as good as its worst step.
        score = score * similarity.clamp_min(0).amin(0).cpu().numpy() ** 2
    positions = np.indices(grid).reshape(2, -1).T  # (N, 2)
    # About the distance of neighbours if the patches were on a regular grid.
    spacing = max(grid) / (1 + np.sqrt(number))
    nearest = np.full(len(positions), np.inf)  # distance to a chosen patch
    chosen: List[Patch] = []
    while len(chosen) < min(number, len(positions)):
        # Patches close to a chosen one score less, the chosen ones 0.
        penalty = (nearest > 0) * np.minimum(1, nearest / spacing) ** 2
        row, column = positions[np.argmax((1 + score) * penalty)].tolist()
        chosen.append((row, column))
        distance = np.linalg.norm(positions - chosen[-1], axis=1)
        nearest = np.minimum(nearest, distance)
    return chosen


class _Track:
    """Drawing of one route.

    Args:
        positions (np.ndarray): Row and column in every frame, (T, 2).
        similarity (np.ndarray, optional): Similarity of each step, (T-1,).
        colour (str): Colour of the route.
    """

    def __init__(
        self,
        positions: np.ndarray,
        similarity: Optional[np.ndarray],
        colour: str,
    ) -> None:
        self.positions = positions
        self.similarity = similarity
        self.colour = colour

    def draw(self, ax: Axes, t: int) -> None:
        """Draw trail, box and last similarity as of frame t."""
        row, column = self.positions[t]
        centres = self.positions[: t + 1] + 0.5
        for i in range(t):  # older segments are fainter
            age = (i + 1) / t
            ax.plot(
                centres[i : i + 2, 1],
                centres[i : i + 2, 0],
                color=self.colour,
                alpha=0.35 + 0.65 * age,
                linewidth=1.6,
                solid_capstyle='round',
                path_effects=outline(1.6),
            )
        ax.plot(*centres[:-1, ::-1].T, 'o', color=self.colour, markersize=2)
        ax.add_patch(
            Rectangle(
                (column, row),
                1,
                1,
                fill=False,
                edgecolor=self.colour,
                linewidth=1.8,
                path_effects=outline(1.8),
            )
        )
        if self.similarity is not None and t > 0:
            self._annotate(ax, row, column, self.similarity[t - 1])

    def _annotate(self, ax: Axes, row: int, column: int, value: float) -> None:
        # Above the box, but inside the frame: below the box in the top rows,
        # aligned with its inner side at the left and right edges.
        columns, rows = ax.get_xlim()[1], ax.get_ylim()[0]
        above = row > 0.07 * rows
        side = 'center'
        if column < 0.02 * columns:
            side = 'left'
        elif column + 1 > 0.98 * columns:
            side = 'right'
        x = column + dict(left=0, center=0.5, right=1)[side]
        ax.annotate(
            f'{value:.2f}',
            (x, row if above else row + 1),
            (0, 4 if above else -4),
            textcoords='offset points',
            ha=side,
            va='bottom' if above else 'top',
            fontsize=6.5,
            color='#101418',
            bbox=dict(
                boxstyle='round,pad=0.18',
                facecolor=self.colour,
                edgecolor='#101418',
                linewidth=0.5,
            ),
        )


def _tracks(
    frames: Sequence[np.ndarray],
    alignment: Alignment,
    grid: Grid,
    patches: Sequence[Patch],
    similarity: Optional[Tensor],
    clip: int,
    start: int,
) -> List[_Track]:
    routes = alignment.routes[clip].cpu().numpy()  # (T, N)
    _check_choice(frames, routes, grid, patches, start)
    tracks = []
    for k, (row, column) in enumerate(patches):
        # The route whose patch in the start frame is the chosen one.
        route = int((routes[start] == row * grid[1] + column).argmax())
        positions = np.stack(np.divmod(routes[:, route], grid[1]), axis=1)
        steps = None
        if similarity is not None:
            steps = similarity[clip, :, route].float().cpu().numpy()
        tracks.append(_Track(positions, steps, COLOURS[k % len(COLOURS)]))
    return tracks


def _check_choice(
    frames: Sequence[np.ndarray],
    routes: np.ndarray,
    grid: Grid,
    patches: Sequence[Patch],
    start: int,
) -> None:
    """Raise if frames, grid or patches do not fit the routes (T, N)."""
    num_frames, num_patches = routes.shape
    rows, columns = grid
    if len(frames) != num_frames or rows * columns != num_patches:
        raise ValueError(
            f'Expected T = {num_frames} frames of N = {num_patches} patches '
            f'as in the alignment, got {len(frames)} frames and a grid of '
            f'{rows} x {columns}.'
        )
    if not 0 <= start < num_frames:
        raise ValueError(
            'Expected start to be a frame from 0 to '
            f'{num_frames - 1}, got {start}.'
        )
    for patch in patches:
        if not (0 <= patch[0] < rows and 0 <= patch[1] < columns):
            raise ValueError(
                'Expected patches (row, column) with rows from 0 to '
                f'{rows - 1} and columns from 0 to {columns - 1}, got '
                f'{tuple(patch)}.'
            )


def _change(first: np.ndarray, second: np.ndarray, grid: Grid) -> np.ndarray:
    """Return the mean absolute difference of each patch of two frames, (N,).

    Frames are not always divisible into patches, hence ``array_split``.
    """
    change = np.abs(first.astype(float) - second).mean(-1)
    bands = np.array_split(change, grid[0], axis=0)
    return np.array(
        [
            cell.mean()
            for band in bands
            for cell in np.array_split(band, grid[1], axis=1)
        ]
    )
