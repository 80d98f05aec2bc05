# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Patches of one frame, followed through the others (paper, Sec. 3.3)."""
from typing import List, Optional, Sequence, Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from ata_mm.ops import Alignment

from .canvas import COLOURS, DPI, outline, picture_figure, render, show_frame

Patch = Tuple[int, int]


def draw_routes(frames: Sequence[np.ndarray],
                alignment: Alignment,
                grid: Tuple[int, int],
                patches: Sequence[Patch],
                similarity: Optional[Tensor] = None,
                clip: int = 0,
                start: int = 0,
                width: int = 480) -> List[np.ndarray]:
    """Draw where chosen patches of a frame go.

    Every patch has a colour, a box in each frame, and a trail of where it has
    been, with the similarity of its last step beside it.

    Args:
        frames (Sequence[np.ndarray]): The T pictures of a clip, (height,
            width, 3), uint8, RGB.
        alignment (Alignment): Routes (B, T, N) of their patches.
        grid (tuple[int, int]): Rows and columns of the patches, N in all.
        patches (Sequence[tuple[int, int]]): Row and column of each patch.
        similarity (Tensor, optional): Of each step of each route, (B, T-1,
            N), as ``alignment.similarity(x)`` gives. Defaults to None, not
            written.
        clip (int): Which of the B clips. Defaults to 0.
        start (int): The frame that the patches are chosen in. Defaults to 0.
        width (int): Width of the images in pixels. Defaults to 480.

    Returns:
        list[np.ndarray]: T images (height, width, 3), uint8, RGB.

    Raises:
        ValueError: If the frames are not T, the grid has not N patches, or a
            patch or the start lies outside.
    """
    tracks = _tracks(frames, alignment, grid, patches, similarity, clip, start)
    images = []
    for t, frame in enumerate(frames):
        figure, ax = picture_figure(frame, width)
        show_frame(ax, frame, grid, shade=0.25)
        for track in tracks:
            track.draw(ax, t)
        images.append(render(figure))
    return images


def routes_figure(frames: Sequence[np.ndarray],
                  alignment: Alignment,
                  grid: Tuple[int, int],
                  patches: Sequence[Patch],
                  similarity: Optional[Tensor] = None,
                  clip: int = 0,
                  start: int = 0,
                  labels: Optional[Sequence[str]] = None,
                  columns: int = 4) -> Figure:
    """The images of :func:`draw_routes` as one figure.

    Args:
        frames, alignment, grid, patches, similarity, clip, start: As in
            :func:`draw_routes`.
        labels (Sequence[str], optional): A title for each frame. Defaults to
            None, ``'t = 0'``, ``'t = 1'``, … .
        columns (int): Frames beside each other, at most. Defaults to 4.

    Returns:
        Figure: To be saved as PNG, PDF or SVG.

    Raises:
        ValueError: As :func:`draw_routes`.
    """
    tracks = _tracks(frames, alignment, grid, patches, similarity, clip, start)
    labels = labels or [f't = {t}' for t in range(len(frames))]
    columns = min(columns, len(frames))
    rows = -(-len(frames) // columns)
    aspect = frames[0].shape[0] / frames[0].shape[1]
    size = 3.2 * columns, (3.2 * aspect + 0.3) * rows
    figure = Figure(size, dpi=2 * DPI, layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for ax in axes:
        ax.axis('off')
    for t, (ax, frame) in enumerate(zip(figure.axes, frames)):
        show_frame(ax, frame, grid, shade=0.25)
        ax.set_title(labels[t], fontsize=9, loc='left', pad=4)
        for track in tracks:
            track.draw(ax, t)
    return figure


def choose_patches(frames: Sequence[np.ndarray],
                   grid: Tuple[int, int],
                   number: int = 5,
                   similarity: Optional[Tensor] = None) -> List[Patch]:
    """Patches of frame 0 that are worth following.

    They change much from frame 0 to frame 1, are matched well if that is
    known, and are spread over the picture.

    Args:
        frames (Sequence[np.ndarray]): Pictures (height, width, 3), uint8.
        grid (tuple[int, int]): Rows and columns of the patches, N in all.
        number (int): How many, at most. Defaults to 5.
        similarity (Tensor, optional): Of each step of each route, (T-1, N).
            Defaults to None.

    Returns:
        list[tuple[int, int]]: Row and column of each, the best first.
    """
    worth = _change(frames[0], frames[min(1, len(frames) - 1)], grid)
    if similarity is not None and len(similarity):
        worth = worth * similarity.clamp_min(0).amin(0).cpu().numpy()**2
    places = np.stack(np.indices(grid), -1).reshape(-1, 2)
    apart = max(grid) / (1 + np.sqrt(number))
    near = np.full(len(places), np.inf)
    chosen: List[Patch] = []
    while len(chosen) < min(number, len(places)):
        # What lies beside a chosen patch counts less, itself nothing.
        best = (near > 0) * (1 + worth) * np.minimum(1, near / apart)**2
        chosen.append(tuple(places[best.argmax()].tolist()))
        distance = np.linalg.norm(places - chosen[-1], axis=1)
        near = np.minimum(near, distance)
    return chosen


class _Track:
    """One route: its place in every frame, in patches, and how to draw it."""

    def __init__(self, places: np.ndarray, similarity: Optional[np.ndarray],
                 colour: str) -> None:
        self.places = places  # (T, 2): row, column
        self.similarity = similarity  # (T-1,)
        self.colour = colour

    def draw(self, ax: Axes, t: int) -> None:
        """Its trail up to frame t, its box there, and the last similarity."""
        row, column = self.places[t]
        centres = self.places[:t + 1] + 0.5
        for i in range(t):
            age = (i + 1) / t
            ax.plot(
                centres[i:i + 2, 1],
                centres[i:i + 2, 0],
                color=self.colour,
                alpha=0.35 + 0.65 * age,
                linewidth=1.6,
                solid_capstyle='round',
                path_effects=outline(1.6))
        ax.plot(*centres[:-1, ::-1].T, 'o', color=self.colour, markersize=2)
        ax.add_patch(
            Rectangle((column, row),
                      1,
                      1,
                      fill=False,
                      edgecolor=self.colour,
                      linewidth=1.8,
                      path_effects=outline(1.8)))
        if self.similarity is not None and t > 0:
            self._write(ax, row, column, self.similarity[t - 1])

    def _write(self, ax: Axes, row: int, column: int, value: float) -> None:
        # Inside the picture: below at the top, inwards at the sides.
        columns, rows = ax.get_xlim()[1], ax.get_ylim()[0]
        above = row > 0.07 * rows
        side = 'center'
        if column < 0.02 * columns:
            side = 'left'
        elif column + 1 > 0.98 * columns:
            side = 'right'
        x = column + dict(left=0, center=0.5, right=1)[side]
        ax.annotate(
            f'{value:.2f}', (x, row if above else row + 1),
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
                linewidth=0.5))


def _tracks(frames: Sequence[np.ndarray], alignment: Alignment,
            grid: Tuple[int, int], patches: Sequence[Patch],
            similarity: Optional[Tensor], clip: int,
            start: int) -> List[_Track]:
    routes = alignment.routes[clip].cpu().numpy()  # (T, N)
    check_patches(frames, routes, grid, patches, start)
    tracks = []
    for k, (row, column) in enumerate(patches):
        route = int((routes[start] == row * grid[1] + column).argmax())
        places = np.stack(np.divmod(routes[:, route], grid[1]), axis=1)
        steps = None
        if similarity is not None:
            steps = similarity[clip, :, route].float().cpu().numpy()
        tracks.append(_Track(places, steps, COLOURS[k % len(COLOURS)]))
    return tracks


def check_patches(frames: Sequence[np.ndarray], routes: np.ndarray,
                  grid: Tuple[int, int], patches: Sequence[Patch],
                  start: int) -> None:
    """Check that frames, routes (T, N), grid and patches fit together.

    Raises:
        ValueError: If they do not.
    """
    num_frames, num_patches = routes.shape
    rows, columns = grid
    if len(frames) != num_frames or rows * columns != num_patches:
        raise ValueError(
            f'Expected T = {num_frames} frames of N = {num_patches} patches, '
            f'as the alignment has, got {len(frames)} frames and a grid of '
            f'{rows} x {columns}.')
    if not 0 <= start < num_frames:
        raise ValueError(f'Expected a frame from 0 to {num_frames - 1} to '
                         f'start in, got {start}.')
    for patch in patches:
        if not (0 <= patch[0] < rows and 0 <= patch[1] < columns):
            raise ValueError(
                'Expected patches (row, column) with rows from 0 to '
                f'{rows - 1} and columns from 0 to {columns - 1}, got '
                f'{tuple(patch)}.')


def _change(first: np.ndarray, second: np.ndarray,
            grid: Tuple[int, int]) -> np.ndarray:
    """Mean absolute difference of each patch of two pictures, (N,)."""
    change = np.abs(first.astype(float) - second).mean(-1)
    bands = np.array_split(change, grid[0], axis=0)
    return np.array([
        cell.mean() for band in bands
        for cell in np.array_split(band, grid[1], axis=1)
    ])
