# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The matching of two neighbouring frames (paper, Fig. 5)."""
from typing import Optional, Sequence, Tuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ata_mm.ops import Alignment, neighbour_similarity

from .canvas import DPI, outline, show_frame

_MAX_ARROWS = 28  # side by side


def matching_figure(frames: Sequence[np.ndarray],
                    alignment: Alignment,
                    features: Tensor,
                    grid: Tuple[int, int],
                    pair: int = 0,
                    labels: Optional[Sequence[str]] = None) -> Figure:
    """Show which patch of frame t became which of frame t + 1.

    Four panels: the displacements as arrows over frame t, coloured by the
    similarity of the matched patches; frame t + 1; the similarity matrix with
    the matched pairs marked; and the matrix with its columns in the order of
    the routes, which has the matched pairs on its diagonal.

    Args:
        frames (Sequence[np.ndarray]): T pictures (height, width, 3), uint8.
        alignment (Alignment): Routes (1, T, N).
        features (Tensor): What was compared, (1, T, N, C).
        grid (tuple[int, int]): Rows and columns of the patches.
        pair (int): The pair of frames t and t + 1. Defaults to 0.
        labels (Sequence[str], optional): The names of the T frames. Defaults
            to None, ``'t = 0'``, ``'t = 1'``, … .

    Returns:
        Figure: To be saved as PNG, PDF or SVG.

    Raises:
        ValueError: If there is no such pair.
    """
    num_pairs = len(frames) - 1
    if not 0 <= pair < num_pairs:
        raise ValueError(f'Expected a pair of frames from 0 to {num_pairs - 1}'
                         f', of {len(frames)} frames, got {pair}.')
    labels = labels or [f't = {t}' for t in range(len(frames))]
    first, second = alignment.routes[0, pair:pair + 2].cpu()
    similarity = neighbour_similarity(features[:, pair:pair + 2])[0, 0].cpu()
    matched = first.new_empty(len(first)).scatter(0, first, second).numpy()
    similarity = similarity.numpy()

    aspect = frames[0].shape[0] / frames[0].shape[1]
    figure = Figure((9.2, 4 * aspect + 4.9), dpi=2 * DPI)
    figure.set_layout_engine('constrained')
    (left, right), (before, after) = figure.subplots(
        2, 2, height_ratios=[4 * aspect, 4])
    values = similarity[np.arange(len(matched)), matched]
    arrows = draw_displacement(left, frames[pair], grid, matched, values)
    show_frame(right, frames[pair + 1], grid)
    left.set_title(f'{labels[pair]}: where its patches go', fontsize=10)
    right.set_title(labels[pair + 1], fontsize=10)
    figure.colorbar(
        arrows, ax=[left, right], pad=0.01,
        aspect=30).set_label('cosine similarity of the matched patches')
    image = _show_matrix(before, similarity)
    _show_matrix(after, similarity[:, matched])
    before.plot(
        matched,
        np.arange(len(matched)),
        '.',
        color='black',
        ms=max(0.4, min(1.5, 400 / len(matched))))
    before.set(
        title='similarity matrix, matched pairs in black',
        xlabel=f'patch of {labels[pair + 1]}',
        ylabel=f'patch of {labels[pair]}')
    after.set(
        title='aligned: matched pairs on the diagonal',
        xlabel=f'patch of {labels[pair + 1]}, aligned')
    figure.colorbar(
        image, ax=[before, after], pad=0.01,
        aspect=30).set_label('cosine similarity')
    return figure


def draw_displacement(ax: Axes, frame: np.ndarray, grid: Tuple[int, int],
                      matched: np.ndarray, values: np.ndarray):
    """Draw the displacement field over a frame.

    Of large maps only every second patch of every second row has an arrow, or
    fewer, so that they can be told apart.

    Args:
        ax (Axes): What to draw into.
        frame (np.ndarray): (height, width, 3), uint8, RGB.
        grid (tuple[int, int]): Rows and columns of the patches.
        matched (np.ndarray): The patch of the next frame for each, (N,).
        values (np.ndarray): What colours the arrows, (N,), from 0 to 1.

    Returns:
        Quiver: The arrows, for a colour bar.
    """
    show_frame(ax, frame, grid, shade=0.55)
    every = -(-max(grid) // _MAX_ARROWS)
    patches = np.arange(len(matched)).reshape(grid)
    patches = patches[every // 2::every, every // 2::every].ravel()
    matched, values = matched[patches], values[patches]
    rows, columns = np.divmod(patches, grid[1])
    down, right = np.divmod(matched, grid[1]) - np.stack([rows, columns])
    stay = (down == 0) & (right == 0)
    scatter = ax.scatter(
        columns[stay] + 0.5,
        rows[stay] + 0.5,
        s=200 * every / max(grid),
        c=values[stay],
        cmap='plasma',
        vmin=0,
        vmax=1)
    moved = ~stay
    arrows = ax.quiver(
        columns[moved] + 0.5,
        rows[moved] + 0.5,
        right[moved],
        down[moved],
        values[moved],
        cmap='plasma',
        clim=(0, 1),
        angles='xy',
        scale_units='xy',
        scale=1,
        width=0.0045,
        headwidth=3.4,
        headlength=4,
        path_effects=outline(0.6))
    return arrows if moved.any() else scatter


def _show_matrix(ax: Axes, similarity: np.ndarray):
    """Redder is more similar, bluer less, as in Fig. 5."""
    most = np.abs(similarity).max()
    ax.tick_params(labelsize=8)
    return ax.imshow(
        similarity,
        cmap='RdBu_r',
        vmin=-most,
        vmax=most,
        # Where several similarities share a pixel, their mean is shown.
        interpolation='nearest' if len(similarity) < 400 else 'antialiased',
        interpolation_stage='data')
