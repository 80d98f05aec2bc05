# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Responses of several models as heat maps (paper, Figs. 6 and 7)."""

import textwrap
from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from .canvas import DPI, frame_labels, render


def overlay(
    frames: Sequence[np.ndarray],
    response: np.ndarray,
    alpha: float = 0.55,
    cmap: str = 'jet',
) -> list[np.ndarray]:
    """Blend a response into the frames as a heat map.

    The colour map spans the range of responses in the clip; values between
    patches are interpolated.

    Args:
        frames (Sequence[np.ndarray]): T frames (H, W, 3), uint8, RGB.
        response (np.ndarray): (T, rows, columns) in any range. A response of
            fewer frames, from a model with strides in time, is spread evenly
            over the T frames.
        alpha (float): Opacity of the heat map, from 0 to 1. Defaults to 0.55.
        cmap (str): Name of a colour map of matplotlib. Defaults to 'jet', as
            in the paper.

    Returns:
        list[np.ndarray]: T images (H, W, 3), uint8, RGB.
    """
    response = np.asarray(response, np.float32)
    span = np.ptp(response)  # 0 for a constant response
    response = (response - response.min()) / (span if span > 0 else 1)
    images = []
    for t, frame in enumerate(frames):
        values = response[t * len(response) // len(frames)]
        size = frame.shape[1], frame.shape[0]
        values = cv2.resize(values, size, interpolation=cv2.INTER_CUBIC)
        # Cubic interpolation overshoots.
        heat = matplotlib.colormaps[cmap](values.clip(0, 1))[..., :3] * 255
        images.append((alpha * heat + (1 - alpha) * frame).astype(np.uint8))
    return images


def responses_figure(
    frames: Sequence[np.ndarray],
    responses: dict[str, np.ndarray],
    labels: Sequence[str] | None = None,
    title: str = '',
    columns: int = 8,
) -> Figure:
    """Draw a row of frames, and below it a row of heat maps for each model.

    Args:
        frames (Sequence[np.ndarray]): T frames (H, W, 3), uint8, RGB.
        responses (dict[str, np.ndarray]): (T, rows, columns) by name of the
            model, each with a separate colour scale.
        labels (Sequence[str], optional): Titles of the T frames. Defaults to
            None, ``'t = 0'``, ``'t = 1'``, … .
        title (str): Title of the figure. Defaults to ''.
        columns (int): Maximum number of frames, spread evenly over the clip.
            Defaults to 8.

    Returns:
        Figure: To be saved as PNG, PDF or SVG.
    """
    labels = frame_labels(labels, len(frames))
    shown = np.linspace(0, len(frames) - 1, min(columns, len(frames)))
    shown = shown.round().astype(int)
    rows = _image_rows(frames, responses)
    aspect = frames[0].shape[0] / frames[0].shape[1]
    # Inches: panels of 1.6, with room for titles, names and colour bar.
    size = 1.6 * len(shown) + 0.9, 1.6 * aspect * len(rows) + 0.75
    figure = Figure(size, dpi=2 * DPI)
    figure.set_layout_engine(
        'constrained', w_pad=0.015, h_pad=0.015, wspace=0, hspace=0
    )
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
        ScalarMappable(cmap='jet'), ax=axes, ticks=[0, 1], aspect=40, pad=0.01
    )
    bar.ax.set_yticklabels(['lowest', 'highest'], fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def responses_images(
    frames: Sequence[np.ndarray],
    responses: dict[str, np.ndarray],
    height: int = 320,
) -> list[np.ndarray]:
    """Draw each frame beside the heat maps of all models, for a video.

    Args:
        frames (Sequence[np.ndarray]): T frames (H, W, 3), uint8, RGB.
        responses (dict[str, np.ndarray]): As in :func:`responses_figure`.
        height (int): Height of a heat map in pixels. Defaults to 320.

    Returns:
        list[np.ndarray]: T images (H, W, 3), uint8, RGB.
    """
    rows = _image_rows(frames, responses)
    # Even numbers of pixels, which video codecs require.
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


def _image_rows(
    frames: Sequence[np.ndarray], responses: dict[str, np.ndarray]
) -> dict[str, list]:
    """Return the frames and the overlays of each model, by their title."""
    rows = {'frames': list(frames)}
    rows.update((k, overlay(frames, v)) for k, v in responses.items())
    return rows


def _wrap(name: str, width: int = 16) -> str:
    """Break the name of a model into lines."""
    return textwrap.fill(name.replace('_', ' '), width)
