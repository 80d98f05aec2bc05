# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Figure of the matching of a frame pair (paper, Fig. 5)."""

from typing import Optional, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from torch import Tensor

from ata_mm.ops import Alignment, neighbour_similarity
from ata_mm.ops.types import Grid

from .canvas import DPI, frame_labels, outline, show_frame

_MAX_ARROWS = 28  # per row or column of arrows


def matching_figure(
    frames: Sequence[np.ndarray],
    alignment: Alignment,
    features: Tensor,
    grid: Grid,
    pair: int = 0,
    labels: Optional[Sequence[str]] = None,
) -> Figure:
    """Show the matches between the patches of frames t and t + 1.

    Four panels: the displacements as arrows over frame t, coloured by the
    similarity of the matched patches; frame t + 1; the similarity matrix with
    the matches marked; and the matrix with its columns in route order, which
    has the matches on its diagonal.

    Args:
        frames (Sequence[np.ndarray]): T frames (H, W, 3), uint8, RGB.
        alignment (Alignment): Routes (1, T, N).
        features (Tensor): The features compared by the matching,
            (1, T, N, C).
        grid (tuple[int, int]): Rows and columns of the patches.
        pair (int): Index t of the frame pair. Defaults to 0.
        labels (Sequence[str], optional): Titles of the T frames. Defaults to
            None, ``'t = 0'``, ``'t = 1'``, … .

    Returns:
        Figure: To be saved as PNG, PDF or SVG.

    Raises:
        ValueError: If the frame pair is out of range.
    """
    num_pairs = len(frames) - 1
    if not 0 <= pair < num_pairs:
        raise ValueError(
            f'Expected a frame pair from 0 to {num_pairs - 1}'
            f', of {len(frames)} frames, got {pair}.'
        )
    labels = frame_labels(labels, len(frames))
    similarity = neighbour_similarity(features[:, pair : pair + 2])
    matrix = similarity[0, 0].cpu().numpy()
    # Routes start in frame 0: the permutation of the pair maps their patches
    # in frame t to those in frame t + 1.
    first, second = alignment.routes[0, pair : pair + 2].cpu()
    matched = first.new_empty(len(first)).scatter(0, first, second).numpy()
    values = matrix[np.arange(len(matched)), matched]

    titles = labels[pair], labels[pair + 1]
    aspect = frames[0].shape[0] / frames[0].shape[1]
    figure = Figure((9.2, 4 * aspect + 4.9), dpi=2 * DPI)
    figure.set_layout_engine('constrained')
    (left, right), matrices = figure.subplots(
        2, 2, height_ratios=[4 * aspect, 4]
    )
    arrows = draw_displacement(left, frames[pair], grid, matched, values)
    show_frame(right, frames[pair + 1], grid)
    left.set_title(f'{titles[0]}: displacement of its patches', fontsize=10)
    right.set_title(titles[1], fontsize=10)
    figure.colorbar(arrows, ax=[left, right], pad=0.01, aspect=30).set_label(
        'cosine similarity of the matched patches'
    )
    image = _draw_matrices(matrices, matrix, matched, titles)
    figure.colorbar(image, ax=list(matrices), pad=0.01, aspect=30).set_label(
        'cosine similarity'
    )
    return figure


def draw_displacement(
    ax: Axes,
    frame: np.ndarray,
    grid: Grid,
    matched: np.ndarray,
    values: np.ndarray,
) -> ScalarMappable:
    """Draw the displacements of patches over a frame.

    Moving patches have arrows, the others dots. On large grids only patches at
    regular intervals of rows and columns are drawn, for legibility.

    Args:
        ax (Axes): The axes to draw into.
        frame (np.ndarray): (H, W, 3), uint8, RGB.
        grid (tuple[int, int]): Rows and columns of the patches.
        matched (np.ndarray): Permutation (N,) of the frame pair.
        values (np.ndarray): Values (N,) from 0 to 1, shown as colours.

    Returns:
        ScalarMappable: The arrows, or the dots if there are no arrows, for a
        colour bar.
    """
    show_frame(ax, frame, grid, shade=0.55)
    every = -(-max(grid) // _MAX_ARROWS)
    indices = np.arange(len(matched)).reshape(grid)
    patches = indices[every // 2 :: every, every // 2 :: every].ravel()
    matched, values = matched[patches], values[patches]
    rows, columns = np.divmod(patches, grid[1])
    next_rows, next_columns = np.divmod(matched, grid[1])
    down, right = next_rows - rows, next_columns - columns
    moved = (down != 0) | (right != 0)
    dots = ax.scatter(
        columns[~moved] + 0.5,
        rows[~moved] + 0.5,
        s=200 * every / max(grid),
        c=values[~moved],
        cmap='plasma',
        vmin=0,
        vmax=1,
    )
    arrows = ax.quiver(
        columns[moved] + 0.5,
        rows[moved] + 0.5,
        right[moved],
        down[moved],
        values[moved],
        cmap='plasma',
        clim=(0, 1),
        # In units of patches, so that arrows end at the matched patch.
        angles='xy',
        scale_units='xy',
        scale=1,
        width=0.0045,
        headwidth=3.4,
        headlength=4,
        path_effects=outline(0.6),
    )
    return arrows if moved.any() else dots


def _draw_matrices(
    axes: Sequence[Axes],
    similarity: np.ndarray,
    matched: np.ndarray,
    titles: Sequence[str],
) -> ScalarMappable:
    """Draw the similarity matrix (N, N) in original and in route order."""
    before, after = axes
    image = _show_matrix(before, similarity)
    _show_matrix(after, similarity[:, matched])
    before.plot(
        matched,
        np.arange(len(matched)),
        '.',
        color='black',
        ms=max(0.4, min(1.5, 400 / len(matched))),
    )
    before.set(
        title='similarity matrix, matches in black',
        xlabel=f'patch of {titles[1]}',
        ylabel=f'patch of {titles[0]}',
    )
    after.set(
        title='aligned: matches on the diagonal',
        xlabel=f'patch of {titles[1]}, aligned',
    )
    return image


def _show_matrix(ax: Axes, similarity: np.ndarray) -> ScalarMappable:
    """Show a similarity matrix, positive values in red as in Fig. 5."""
    bound = np.abs(similarity).max()
    ax.tick_params(labelsize=8)
    return ax.imshow(
        similarity,
        cmap='RdBu_r',
        vmin=-bound,
        vmax=bound,
        # Large matrices have several similarities per pixel: average them, and
        # not their colours.
        interpolation='nearest' if len(similarity) < 400 else 'antialiased',
        interpolation_stage='data',
    )
