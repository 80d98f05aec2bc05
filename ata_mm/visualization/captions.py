# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Video files with predictions written over their frames."""
import os
from typing import List, Optional, Sequence, Tuple

import cv2
import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from ata_mm.video.files import open_mp4

Predictions = Sequence[Tuple[str, float]]

_MIN_SIDE = 320  # of the frames written, so that labels can be read


class OverlayWriter:
    """Writes an mp4 file, each frame with labels and scores at its top left.

    Small videos are enlarged to a short side of 320 pixels or a little more.
    A context manager: the file is complete after it, whatever happens inside.

    Args:
        path (str): The mp4 file. Its directory is made.
        fps (float): Frames a second.

    Example:
        >>> with OverlayWriter('out.mp4', fps=25) as out:
        ...     for frame in frames:
        ...         out.write(frame, [('pan left', 0.93), ('roll', 0.04)])
    """

    def __init__(self, path: str, fps: float) -> None:
        self.path = path
        self.fps = fps
        self._writer: Optional[cv2.VideoWriter] = None
        self._caption: Optional[tuple] = None

    def __enter__(self) -> 'OverlayWriter':
        os.makedirs(os.path.dirname(self.path) or '.', exist_ok=True)
        return self

    def __exit__(self, *error) -> None:
        if self._writer is not None:
            self._writer.release()

    def write(self,
              frame: np.ndarray,
              predictions: Predictions,
              title: str = '') -> None:
        """Write a frame.

        Args:
            frame (np.ndarray): RGB, (H, W, 3), uint8; all of one size.
            predictions (Sequence[tuple[str, float]]): Labels and scores in
                0..1, best first.
            title (str): A line above them. Defaults to ''.

        Raises:
            ValueError: If the file cannot be written.
        """
        frame = _enlarge(frame)
        if self._writer is None:
            self._writer = self._open(frame)
        content = (tuple(predictions), title)
        if self._caption is None or self._caption[0] != content:
            # Drawn once for all frames that show the same.
            caption = draw_caption(frame.shape[:2], predictions, title)
            self._caption = content, caption
        lay_over(frame, self._caption[1])
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def _open(self, frame: np.ndarray) -> cv2.VideoWriter:
        height, width = frame.shape[:2]
        return open_mp4(self.path, self.fps, width, height)


def draw_caption(size: Tuple[int, int],
                 predictions: Predictions,
                 title: str = '') -> np.ndarray:
    """Draw labels with a bar for each score, for a frame of a size.

    Args:
        size (tuple[int, int]): Height and width of the frame.
        predictions (Sequence[tuple[str, float]]): Labels, in scripts that
            the font DejaVu Sans has, and scores, whose bars end at 0 and 1.
        title (str): A line above them. Defaults to ''.

    Returns:
        np.ndarray: RGBA, uint8, no larger than the frame.
    """
    height, width = size
    unit = max(min(size) // 22, 12)  # pixels, the height of letters
    font = ImageFont.truetype(font_manager.findfont('DejaVu Sans'), unit)
    texts = [f'{score:.2f}  {label}' for label, score in predictions]
    lines: List[str] = ([title] if title else []) + texts
    panel = int(max((font.getlength(text) for text in lines), default=0))
    panel = min(panel + unit, width)
    pitch = unit * 3 // 2
    image = Image.new('RGBA', (panel, min(pitch * len(lines) + unit, height)),
                      (0, 0, 0, 150))
    draw = ImageDraw.Draw(image)
    for row, text in enumerate(lines):
        top = unit // 2 + row * pitch
        if row >= len(lines) - len(texts):
            score = predictions[row - len(lines) + len(texts)][1]
            length = min(max(score, 0), 1) * panel  # logits, too
            draw.rectangle((0, top, length, top + pitch - 2),
                           (30, 120, 200, 200))
        draw.text((unit // 2, top), text, (255, 255, 255, 255), font)
    return np.asarray(image)


def lay_over(frame: np.ndarray, caption: np.ndarray) -> None:
    """Blend an RGBA caption into the top left of an RGB frame, in place."""
    height, width = caption.shape[:2]
    corner = frame[:height, :width]
    opacity = caption[..., 3:] / np.float32(255)
    corner[:] = (1 - opacity) * corner + opacity * caption[..., :3]


def _enlarge(frame: np.ndarray) -> np.ndarray:
    """A copy whose sides are even, as codecs need, and long enough."""
    height, width = frame.shape[:2]
    scale = max(1, -(-_MIN_SIDE // min(height, width)))
    size = (width * scale // 2 * 2, height * scale // 2 * 2)
    if size == (width, height):
        return frame.copy()
    return cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)
