# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Figure of the matching of a frame pair (paper, Fig. 5)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ata_mm.introspection import Block
from ata_mm.ops.types import Grid

from .canvas import DPI, SIMILARITY, frame_labels, outline, show_frame
from .doubts import doubtful_steps

_MAX_ARROWS = 16  # per row or column of arrows
_GAP = 0.25  # between arrows, in patches


class Steps(NamedTuple):
    """Steps of all routes between two frames.

    Args:
        start (np.ndarray): Row and column in the first frame, (N, 2).
        end (np.ndarray): Row and column in the second frame, (N, 2).
        similarity (np.ndarray): (N,).
        doubtful (np.ndarray): See :func:`doubtful_steps`, (N,).
        rejected (np.ndarray): Of the matches into the second frame, (N,).
    """

    start: np.ndarray
    end: np.ndarray
    similarity: np.ndarray
    doubtful: np.ndarray
    rejected: np.ndarray

    def select(self, mask: np.ndarray) -> 'Steps':
        """Return some of the steps."""
        return Steps(*(value[mask] for value in self))


def matching_figure(
    frames: Sequence[np.ndarray],
    block: Block,
    pair: int = 0,
    labels: Sequence[str] | None = None,
) -> Figure:
    """Show the matches between the patches of frames t and t + 1.

    Four panels: the displacements as arrows over frame t, coloured by
    similarity; frame t + 1; the similarity matrix with the matches marked; and
    the matrix with its columns in route order, which has the matches on its
    diagonal.

    Args:
        frames (Sequence[np.ndarray]): T frames (H, W, 3), uint8, RGB.
        block (Block): A block that aligns.
        pair (int): Index t of the frame pair. Defaults to 0.
        labels (Sequence[str], optional): Titles of the T frames. Defaults to
            None, ``'t = 0'``, ``'t = 1'``, … .

    Returns:
        Figure: To be saved as PNG, PDF or SVG.

    Raises:
        ValueError: If the frame pair is out of range, or the block does not
            align.
    """
    num_pairs = len(frames) - 1
    if not 0 <= pair < num_pairs:
        raise ValueError(
            f'Expected a frame pair from 0 to {num_pairs - 1}'
            f', of {len(frames)} frames, got {pair}.'
        )
    labels = frame_labels(labels, len(frames))
    alignment, _ = block.aligned()
    matrix = block.similarity_map(pair)[0].cpu().numpy()
    # Routes start in frame 0: the permutation of the pair maps their patches
    # in frame t to those in frame t + 1.
    first, second = alignment.routes[0, pair : pair + 2].cpu()
    matched = first.new_empty(len(first)).scatter(0, first, second).numpy()

    titles = labels[pair], labels[pair + 1]
    aspect = frames[0].shape[0] / frames[0].shape[1]
    figure = Figure((9.2, 4 * aspect + 5.1), dpi=2 * DPI)
    figure.set_layout_engine('constrained')
    (left, right), matrices = figure.subplots(
        2, 2, height_ratios=[4 * aspect, 4]
    )
    arrows = draw_displacement(
        left, frames[pair], block.grid, _steps(block, pair)
    )
    show_frame(right, frames[pair + 1], block.grid)
    left.set_title(f'{titles[0]}: displacement of its patches', fontsize=10)
    right.set_title(titles[1], fontsize=10)
    # Short, since the bar is as low as the frames.
    figure.colorbar(arrows, ax=[left, right], pad=0.01, aspect=30).set_label(
        'cosine similarity'
    )
    image = _draw_matrices(matrices, matrix, matched, titles)
    figure.colorbar(image, ax=list(matrices), pad=0.01, aspect=30).set_label(
        'cosine similarity'
    )
    return figure


def draw_displacement(
    ax: Axes, frame: np.ndarray, grid: Grid, steps: Steps
) -> ScalarMappable:
    """Draw the displacements of patches over a frame.

    Patches that move have an arrow, coloured by similarity; a thin one if the
    step is doubtful. Rejected matches are crosses. On large grids only patches
    at regular intervals of rows and columns are drawn, for legibility.

    Args:
        ax (Axes): The axes to draw into.
        frame (np.ndarray): (H, W, 3), uint8, RGB.
        grid (tuple[int, int]): Rows and columns of the patches, N in all.
        steps (Steps): The N displacements.

    Returns:
        ScalarMappable: The colours, for a colour bar.
    """
    show_frame(ax, frame, grid, shade=0.45)
    every = -(-max(grid) // _MAX_ARROWS)
    steps = steps.select((steps.start % every == every // 2).all(-1))
    moved = (steps.start != steps.end).any(-1)
    rejected = steps.select(steps.rejected)
    doubtful = steps.select(moved & ~steps.rejected & steps.doubtful)
    sure = steps.select(moved & ~steps.rejected & ~steps.doubtful)
    lowest = min([0.5, *doubtful.similarity, *sure.similarity])
    colours = ScalarMappable(Normalize(lowest, 1), SIMILARITY)
    x, y = _centres(rejected.start)
    ax.scatter(
        x,
        y,
        s=9000 / max(grid) ** 2,
        c='#ff4d4d',
        marker='x',
        linewidths=1.2,
        path_effects=outline(1.2),
    )
    for some, width in ((doubtful, 0.05), (sure, 0.18)):
        # A gap separates arrows that follow each other.
        shift = some.end - some.start
        length = np.linalg.norm(shift, axis=-1, keepdims=True)
        shaft = shift * (1 - _GAP / np.maximum(length, 1))
        ax.quiver(
            *_centres(some.end - shaft),
            *shaft.T[::-1],
            color=colours.to_rgba(some.similarity),
            # In units of patches, so that arrows end at the matched patch.
            angles='xy',
            scale_units='xy',
            scale=1,
            width=width / grid[1],  # of the axes' width
            headwidth=3.2,
            headlength=3.2,
            headaxislength=3,
            path_effects=outline(0.8),
        )
    return colours


def _centres(patches: np.ndarray) -> np.ndarray:
    """Return x and y of the centres of patches, (2, P)."""
    return patches.T[::-1] + 0.5


def _steps(block: Block, pair: int) -> Steps:
    """Return the steps of a frame pair."""
    alignment, _ = block.aligned()
    start, end = alignment.places[0, pair : pair + 2].cpu().numpy()
    return Steps(
        np.stack(np.divmod(start, block.grid[1]), -1),
        np.stack(np.divmod(end, block.grid[1]), -1),
        block.similarity()[0, pair].cpu().numpy(),
        doubtful_steps(alignment, block.grid)[0, pair].cpu().numpy(),
        ~alignment.accepted[0, pair + 1].cpu().numpy(),
    )


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
