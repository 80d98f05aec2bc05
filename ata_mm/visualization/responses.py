# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Response maps over the frames, of several models (paper, Figs. 6 and 7)."""
import textwrap
from typing import Dict, List, Optional, Sequence

import cv2
import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from .canvas import DPI, render


def overlay(frames: Sequence[np.ndarray],
            response: np.ndarray,
            alpha: float = 0.55,
            cmap: str = 'jet') -> List[np.ndarray]:
    """Lay a response over the frames, as a heat map.

    The lowest and highest response of the clip have the first and the last
    colour; between patches it is interpolated.

    Args:
        frames (Sequence[np.ndarray]): T pictures (height, width, 3), uint8.
        response (np.ndarray): (T, rows, columns), any range; of fewer frames,
            those that are spread evenly over the T.
        alpha (float): How opaque the heat map is. Defaults to 0.55.
        cmap (str): Name of a colour map of matplotlib. Defaults to 'jet', the
            paper's.

    Returns:
        list[np.ndarray]: T images (height, width, 3), uint8, RGB.
    """
    response = np.asarray(response, np.float32)
    span = np.ptp(response)
    response = (response - response.min()) / (span if span > 0 else 1)
    images = []
    for t, frame in enumerate(frames):
        row = response[t * len(response) // len(frames)]
        size = frame.shape[1], frame.shape[0]
        row = cv2.resize(row, size, interpolation=cv2.INTER_CUBIC).clip(0, 1)
        heat = matplotlib.colormaps[cmap](row)[..., :3] * 255
        images.append((alpha * heat + (1 - alpha) * frame).astype(np.uint8))
    return images


def responses_figure(frames: Sequence[np.ndarray],
                     responses: Dict[str, np.ndarray],
                     labels: Optional[Sequence[str]] = None,
                     title: str = '',
                     columns: int = 8) -> Figure:
    """The frames in a row, and below them a row of heat maps a model.

    Args:
        frames (Sequence[np.ndarray]): T pictures (height, width, 3), uint8.
        responses (dict[str, np.ndarray]): (T, rows, columns) by the name of
            the model; each has a scale of its own.
        labels (Sequence[str], optional): The names of the T frames. Defaults
            to None, ``'t = 0'``, ``'t = 1'``, … .
        title (str): Title of the figure. Defaults to ''.
        columns (int): Frames that are shown, at most, spread evenly. Defaults
            to 8.

    Returns:
        Figure: To be saved as PNG, PDF or SVG.
    """
    labels = labels or [f't = {t}' for t in range(len(frames))]
    shown = np.linspace(0, len(frames) - 1, min(columns, len(frames)))
    shown = shown.round().astype(int)
    rows = {'frames': list(frames)}
    rows.update((k, overlay(frames, v)) for k, v in responses.items())
    aspect = frames[0].shape[0] / frames[0].shape[1]
    size = 1.6 * len(shown) + 0.9, 1.6 * aspect * len(rows) + 0.75
    figure = Figure(size, dpi=2 * DPI)
    figure.set_layout_engine(
        'constrained', w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    axes = figure.subplots(len(rows), len(shown), squeeze=False)
    for (name, images), line in zip(rows.items(), axes):
        for ax, t in zip(line, shown):
            ax.imshow(images[t])
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        line[0].set_ylabel(_wrap(name), fontsize=8)
    for ax, t in zip(axes[0], shown):
        ax.set_title(labels[t], fontsize=8)
    bar = figure.colorbar(
        ScalarMappable(cmap='jet'), ax=axes, ticks=[0, 1], aspect=40, pad=0.01)
    bar.ax.set_yticklabels(['least', 'most'], fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def responses_images(frames: Sequence[np.ndarray],
                     responses: Dict[str, np.ndarray],
                     height: int = 320) -> List[np.ndarray]:
    """Each frame with the heat maps of all models beside it, for a video.

    Args:
        frames (Sequence[np.ndarray]): T pictures (height, width, 3), uint8.
        responses (dict[str, np.ndarray]): As in :func:`responses_figure`.
        height (int): Of the pictures in pixels. Defaults to 320.

    Returns:
        list[np.ndarray]: T images (height, width, 3), uint8, RGB.
    """
    rows = {'frames': list(frames)}
    rows.update((k, overlay(frames, v)) for k, v in responses.items())
    width = 2 * round(height * frames[0].shape[1] / frames[0].shape[0] / 2)
    size = (width + 8) * len(rows) / DPI, (height + 50) / DPI
    images = []
    for shown in zip(*rows.values()):
        figure = Figure(size, dpi=DPI, layout='constrained')
        axes = figure.subplots(1, len(rows), squeeze=False)[0]
        for ax, name, image in zip(axes, rows, shown):
            ax.imshow(image)
            ax.axis('off')
            ax.set_title(_wrap(name, 40), fontsize=9)
        images.append(render(figure))
    return images


def _wrap(name: str, width: int = 16) -> str:
    """A name of a model in lines, at the side of a row of pictures."""
    return textwrap.fill(name.replace('_', ' '), width)
