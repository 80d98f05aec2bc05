# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Axes in units of patches, and figures as arrays and files."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, Normal, Stroke
from mmengine.fileio import put

from ata_mm.ops.types import Grid

# Distinct on frames of any colour, and under most colour vision deficiencies.
COLOURS = (
    '#ffd23f',
    '#ff5da2',
    '#3fd2ff',
    '#7ae582',
    '#ff8c42',
    '#b79cff',
    '#f4f4f4',
    '#ff4d4d',
)
DPI = 100
# Low similarities have to be visible on dark frames, too.
SIMILARITY = LinearSegmentedColormap.from_list(
    'similarity', matplotlib.colormaps['plasma'](np.linspace(0.25, 1, 64))
)


def show_frame(
    ax: Axes, frame: np.ndarray, grid: Grid, shade: float = 0.0
) -> None:
    """Show a frame in axes whose units are patches: (column, row).

    Args:
        ax (Axes): The axes to draw into.
        frame (np.ndarray): (H, W, 3), uint8, RGB.
        grid (tuple[int, int]): Rows and columns of the patches.
        shade (float): Darkening of the frame, from 0 to 1. Defaults to 0.
    """
    rows, columns = grid
    height, width = frame.shape[:2]
    frame = (frame * (1 - shade)).astype(np.uint8)
    ax.imshow(frame, extent=(0, columns, rows, 0), interpolation='bilinear')
    ax.set_aspect((height / rows) / (width / columns))
    ax.set(xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def frame_figure(frame: np.ndarray, width: int) -> tuple[Figure, Axes]:
    """Create a figure with axes that fill it, in the proportions of a frame.

    Args:
        frame (np.ndarray): (H, W, 3).
        width (int): Width of the figure in pixels.

    Returns:
        tuple[Figure, Axes]: The figure and its only axes.
    """
    # Video codecs require an even number of pixels.
    height = 2 * round(width * frame.shape[0] / frame.shape[1] / 2)
    figure = Figure((width / DPI, height / DPI), dpi=DPI)
    return figure, figure.add_axes((0, 0, 1, 1))


def frame_labels(
    labels: Sequence[str] | None, num_frames: int
) -> Sequence[str]:
    """Return titles of frames, by default ``'t = 0'``, ``'t = 1'``, … ."""
    return labels or [f't = {t}' for t in range(num_frames)]


def render(figure: Figure) -> np.ndarray:
    """Render a figure to an array (H, W, 3), uint8, RGB."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def outline(width: float) -> list[AbstractPathEffect]:
    """Return a dark edge for lines of a width, visible on bright frames."""
    return [Stroke(linewidth=width + 2, foreground='#101418b0'), Normal()]


def check_figure_file(path: str | Path) -> None:
    """Raise if a figure cannot be saved in the format of a file name.

    Args:
        path (str | Path): The file, whose suffix is the format; without one,
            PNG.

    Raises:
        ValueError: If matplotlib does not know the format.
    """
    formats = FigureCanvasAgg.get_supported_filetypes()
    suffix = Path(path).suffix[1:].lower()
    if suffix and suffix not in formats:
        raise ValueError(
            f'Expected a figure as {", ".join(sorted(formats))}, got {path}.'
        )


def save_figure(figure: Figure, path: str | Path, **options: Any) -> None:
    """Write a figure to a file, whole or not at all.

    Args:
        figure (Figure): The figure.
        path (str | Path): The file, whose suffix is the format.
        **options: Of ``Figure.savefig``.

    Raises:
        OSError: If the file cannot be written, as on a full disk.
        ValueError: As :func:`check_figure_file`.
    """
    check_figure_file(path)
    content = io.BytesIO()
    figure.savefig(content, format=Path(path).suffix[1:] or None, **options)
    put(content.getvalue(), path)
