# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Drawings of the routes of chosen patches (paper, Sec. 3.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
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
from .doubts import doubtful_steps

#: Row and column of a patch.
Patch = tuple[int, int]


def draw_routes(
    frames: Sequence[np.ndarray],
    alignment: Alignment,
    grid: Grid,
    patches: Sequence[Patch],
    similarity: Tensor | None = None,
    clip: int = 0,
    start: int = 0,
    width: int = 480,
) -> list[np.ndarray]:
    """Draw the routes of chosen patches into the frames of a clip.

    Every route has a colour, a box around its patch in each frame, and a trail
    of its previous positions, with the similarity of its last step beside the
    box. Doubtful steps are dotted and have a question mark; see
    :func:`~ata_mm.visualization.doubtful_steps`. While rejected matches have
    separated a frame from the frame ``start``, the route has no box there, but
    a cross at its last one.

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
    similarity: Tensor | None = None,
    clip: int = 0,
    start: int = 0,
    labels: Sequence[str] | None = None,
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
    alignment: Alignment,
    grid: Grid,
    similarity: Tensor | None = None,
    clip: int = 0,
    number: int = 5,
) -> list[Patch]:
    """Choose patches of frame 0 whose routes are informative.

    The routes go far in small steps, few of which are doubtful or rejected,
    the others of high similarity, and are spread over the frame.

    Args:
        alignment (Alignment): Routes (B, T, N).
        grid (tuple[int, int]): Rows and columns of the patches, N in all.
        similarity (Tensor, optional): Similarity of each step of each route,
            (B, T-1, N). Defaults to None, not considered.
        clip (int): Index of the clip among B. Defaults to 0.
        number (int): Maximum number of patches. Defaults to 5.

    Returns:
        list[tuple[int, int]]: Row and column of each patch, the best first.
    """
    alignment = alignment.clip(clip, torch.device('cpu'))
    positions = alignment.grid_positions(grid)[0].float()
    score = (positions - positions[0]).norm(dim=-1).amax(0).clamp_max(4)
    if len(positions) > 1:
        # Steps of many patches are rare, and rarely right.
        longest = positions.diff(dim=0).norm(dim=-1).amax(0)
        good = ~doubtful_steps(alignment, grid)[0] & alignment.accepted[0, 1:]
        score = score / (1 + longest / 3) ** 2 * good.float().mean(0) ** 4
        if similarity is not None:
            # A route is as good as its worst step.
            steps = similarity[clip].float().cpu().clamp_min(0)
            score = score * steps.where(good, 1).amin(0) ** 2
    return _spread(score.numpy(), grid, number)


def _spread(score: np.ndarray, grid: Grid, number: int) -> list[Patch]:
    """Return patches of high scores (N,) at a distance from each other."""
    positions = np.indices(grid).reshape(2, -1).T  # (N, 2)
    # About the distance of neighbours if the patches were on a regular grid.
    spacing = max(grid) / (1 + np.sqrt(number))
    nearest = np.full(len(positions), np.inf)  # distance to a chosen patch
    chosen: list[Patch] = []
    while len(chosen) < min(number, len(positions)):
        # Patches close to a chosen one score less, the chosen ones 0.
        penalty = (nearest > 0) * np.minimum(1, nearest / spacing) ** 2
        # If nothing moves, all score alike.
        row, column = positions[np.argmax((1e-3 + score) * penalty)].tolist()
        chosen.append((row, column))
        distance = np.linalg.norm(positions - chosen[-1], axis=1)
        nearest = np.minimum(nearest, distance)
    return chosen


@dataclass(frozen=True)
class _Track:
    """Drawing of one route.

    Args:
        colour (str): Colour of the route.
        positions (np.ndarray): Row and column in every frame, (T, 2).
        same (np.ndarray): Whether each frame shows the content of the frame in
            which the patch was chosen, (T,).
        doubtful (np.ndarray): Of each step, (T-1,).
        similarity (np.ndarray, optional): Of each step, (T-1,).
    """

    colour: str
    positions: np.ndarray
    same: np.ndarray
    doubtful: np.ndarray
    similarity: np.ndarray | None

    def draw(self, ax: Axes, t: int) -> None:
        """Draw trail, box and last similarity as of frame t."""
        shown = np.flatnonzero(self.same[: t + 1])
        if len(shown) == 0:  # rejected until the frame of the choice
            return
        centres = self.positions + 0.5
        for before, after in zip(shown[:-1], shown[1:]):
            sure = after == before + 1 and not self.doubtful[before]
            ax.plot(
                *centres[[before, after]].T[::-1],
                '-' if sure else ':',
                color=self.colour,
                # Older segments are fainter.
                alpha=0.35 + 0.65 * after / t,
                linewidth=2,
                solid_capstyle='round',
                path_effects=outline(2),
            )
        ax.plot(
            *centres[shown[:-1]].T[::-1],
            'o',
            color=self.colour,
            markersize=2.5,
        )
        row, column = self.positions[shown[-1]]
        if not self.same[t]:
            self._annotate(ax, row, column, '✕')
            return
        ax.add_patch(
            Rectangle(
                (column, row),
                1,
                1,
                fill=False,
                edgecolor=self.colour,
                linewidth=2,
                path_effects=outline(2),
            )
        )
        if t > 0:
            mark = '?' if self.doubtful[t - 1] else ''
            value = ''
            if self.similarity is not None:
                value = f'{self.similarity[t - 1]:.2f}'
            self._annotate(ax, row, column, f'{mark} {value}'.strip())

    def _annotate(self, ax: Axes, row: int, column: int, text: str) -> None:
        # Above the box, but inside the frame: below the box in the top rows,
        # aligned with its inner side at the left and right edges.
        if not text:
            return
        columns, rows = ax.get_xlim()[1], ax.get_ylim()[0]
        above = row > 0.065 * max(rows, columns)
        side = 'center'
        if column < 0.02 * columns:
            side = 'left'
        elif column + 1 > 0.98 * columns:
            side = 'right'
        x = column + dict(left=0, center=0.5, right=1)[side]
        ax.annotate(
            text,
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
    similarity: Tensor | None,
    clip: int,
    start: int,
) -> list[_Track]:
    _check_choice(frames, alignment.shape, grid, patches, start)
    alignment = alignment.clip(clip, torch.device('cpu'))
    routes, places = alignment.routes[0].numpy(), alignment.places[0].numpy()
    segments = np.zeros_like(places)  # (T, N)
    if alignment.segments is not None:
        segments = alignment.segments[0].numpy()
    doubtful = doubtful_steps(alignment, grid)[0].numpy()
    tracks = []
    for k, (row, column) in enumerate(patches):
        # The route whose patch in the start frame is the chosen one.
        i = int((routes[start] == row * grid[1] + column).argmax())
        steps = None
        if similarity is not None:
            steps = similarity[clip, :, i].float().cpu().numpy()
        tracks.append(
            _Track(
                COLOURS[k % len(COLOURS)],
                np.stack(np.divmod(places[:, i], grid[1]), axis=1),
                segments[:, i] == segments[start, i],
                doubtful[:, i],
                steps,
            )
        )
    return tracks


def _check_choice(
    frames: Sequence[np.ndarray],
    shape: Sequence[int],
    grid: Grid,
    patches: Sequence[Patch],
    start: int,
) -> None:
    """Raise if frames, grid or patches do not fit routes of (B, T, N)."""
    _, num_frames, num_patches = shape
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
