# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Pictures in the units of their patches, and figures as arrays."""
from pathlib import Path
from typing import Sequence, Tuple, Union

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from ata_mm.video.files import open_mp4

# Told apart on pictures of any colour, and by most of the colour-blind.
COLOURS = ('#ffd23f', '#ff5da2', '#3fd2ff', '#7ae582', '#ff8c42', '#b79cff',
           '#f4f4f4', '#ff4d4d')
DPI = 100


def show_frame(ax: Axes,
               frame: np.ndarray,
               grid: Tuple[int, int],
               shade: float = 0.) -> None:
    """Show a frame in an axes whose units are patches: (column, row).

    Args:
        ax (Axes): What to draw into.
        frame (np.ndarray): (height, width, 3), uint8, RGB.
        grid (tuple[int, int]): Rows and columns of the patches.
        shade (float): How much darker the frame is drawn, from 0 to 1.
            Defaults to 0.
    """
    rows, columns = grid
    height, width = frame.shape[:2]
    frame = (frame * (1 - shade)).astype(np.uint8)
    ax.imshow(frame, extent=(0, columns, rows, 0), interpolation='bilinear')
    ax.set_aspect((height / rows) / (width / columns))
    ax.set(xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def picture_figure(frame: np.ndarray, width: int) -> Tuple[Figure, Axes]:
    """A figure that a frame fills, ``width`` pixels wide.

    Args:
        frame (np.ndarray): (height, width, 3), for its proportions.
        width (int): Width of the figure in pixels.

    Returns:
        tuple[Figure, Axes]: The figure and its only axes.
    """
    # Even numbers: video codecs take no others.
    height = 2 * round(width * frame.shape[0] / frame.shape[1] / 2)
    figure = Figure((width / DPI, height / DPI), dpi=DPI)
    return figure, figure.add_axes((0, 0, 1, 1))


def render(figure: Figure) -> np.ndarray:
    """A figure as an array (height, width, 3), uint8, RGB."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def outline(width: float) -> list:
    """A dark edge around lines of a width, seen on bright pictures too."""
    return [Stroke(linewidth=width + 2, foreground='#101418b0'), Normal()]


def save_video(path: Union[str, Path], images: Sequence[np.ndarray],
               fps: float) -> None:
    """Write images as an mp4 file.

    Args:
        path (str | Path): The file.
        images (Sequence[np.ndarray]): (height, width, 3), uint8, RGB, of one
            size, in even numbers of pixels.
        fps (float): Images a second.

    Raises:
        ValueError: If the file cannot be written.
    """
    height, width = images[0].shape[:2]
    writer = open_mp4(str(path), fps, width, height)
    for image in images:
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
