# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Draw predictions into the frames of a video file."""

import os
from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from ata_mm.video import VideoWriter

Predictions = Sequence[tuple[str, float]]

_MIN_SIDE = 320  # least side of written frames, for readable labels


class OverlayWriter:
    """Video file whose frames show labels and scores at the top left.

    Frames with a short side below 320 pixels are enlarged by an integer. All
    frames get the size of the first: streams may change theirs. A
    context manager: the file is complete when the block ends, also by an
    error, or it is removed if it could not be written.

    Args:
        path (str): The mp4 file. Its directory is created.
        fps (float): Frames per second.

    Example:
        >>> with OverlayWriter('out.mp4', fps=25) as out:
        ...     for frame in frames:
        ...         out.write(frame, [('pan left', 0.93), ('roll', 0.04)])
    """

    def __init__(self, path: str, fps: float) -> None:
        self.path = path
        self.fps = fps
        self._writer: VideoWriter | None = None
        self._content: tuple | None = None
        self._caption: np.ndarray | None = None

    def __enter__(self) -> 'OverlayWriter':
        os.makedirs(os.path.dirname(self.path) or '.', exist_ok=True)
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, *error)

    def write(
        self, frame: np.ndarray, predictions: Predictions, title: str = ''
    ) -> None:
        """Append a frame.

        Args:
            frame (np.ndarray): RGB, (H, W, 3), uint8.
            predictions (Sequence[tuple[str, float]]): Labels and scores in
                0..1, best first.
            title (str): Line above the labels. Defaults to ''.

        Raises:
            ValueError: If the file cannot be written.
        """
        frame = _enlarge(frame)
        height, width = frame.shape[:2]
        if self._writer is None:
            self._writer = VideoWriter(self.path, self.fps, (width, height))
        if self._writer.size != (width, height):
            width, height = self._writer.size
            frame = cv2.resize(frame, (width, height))
        lay_over(frame, self._draw((height, width), predictions, title))
        self._writer.write(frame)

    def _draw(
        self, size: tuple[int, int], predictions: Predictions, title: str
    ) -> np.ndarray:
        """Return the caption, drawn once for all frames that share it."""
        content = size, tuple(predictions), title
        if self._caption is None or self._content != content:
            self._content = content
            self._caption = draw_caption(size, predictions, title)
        return self._caption


def draw_caption(
    size: tuple[int, int], predictions: Predictions, title: str = ''
) -> np.ndarray:
    """Draw labels, each on a bar as long as its score.

    Args:
        size (tuple[int, int]): Height and width of the frame in pixels.
        predictions (Sequence[tuple[str, float]]): Labels, in scripts of the
            font DejaVu Sans, and scores. Bars are clipped to scores in 0..1.
        title (str): Line above the labels. Defaults to ''.

    Returns:
        np.ndarray: RGBA (h, w, 4), uint8, no larger than the frame.
    """
    height, width = size
    unit = max(min(size) // 22, 12)  # font size in pixels
    font = ImageFont.truetype(font_manager.findfont('DejaVu Sans'), unit)
    texts = [f'{score:.2f}  {label}' for label, score in predictions]
    lines: list[str] = ([title] if title else []) + texts
    panel = int(max((font.getlength(text) for text in lines), default=0))
    panel = min(panel + unit, width)
    pitch = unit * 3 // 2
    image = Image.new(
        'RGBA', (panel, min(pitch * len(lines) + unit, height)), (0, 0, 0, 150)
    )
    draw = ImageDraw.Draw(image)
    for row, text in enumerate(lines):
        top = unit // 2 + row * pitch
        if row >= len(lines) - len(texts):
            score = predictions[row - len(lines) + len(texts)][1]
            length = min(max(score, 0), 1) * panel  # scores may be logits
            draw.rectangle(
                (0, top, length, top + pitch - 2), (30, 120, 200, 200)
            )
        draw.text((unit // 2, top), text, (255, 255, 255, 255), font)
    return np.asarray(image)


def lay_over(frame: np.ndarray, caption: np.ndarray) -> None:
    """Blend a caption into the top left corner of a frame, in place.

    Args:
        frame (np.ndarray): RGB (H, W, 3), uint8, changed in place.
        caption (np.ndarray): RGBA (h, w, 4), uint8, no larger than the frame.
    """
    height, width = caption.shape[:2]
    corner = frame[:height, :width]
    opacity = caption[..., 3:] / np.float32(255)
    corner[:] = (1 - opacity) * corner + opacity * caption[..., :3]


def _enlarge(frame: np.ndarray) -> np.ndarray:
    """Return a copy with even sides, as codecs require, and a minimum side."""
    height, width = frame.shape[:2]
    scale = max(1, -(-_MIN_SIDE // min(height, width)))
    size = (width * scale // 2 * 2, height * scale // 2 * 2)
    if size == (width, height):
        return frame.copy()
    return cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)
