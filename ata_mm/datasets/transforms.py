# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Data transforms."""

import cv2
import numpy as np
from mmaction.datasets.transforms import ColorJitter
from mmaction.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SafeColorJitter(ColorJitter):
    """MMAction2's :class:`ColorJitter` with corrected hue arithmetic.

    MMAction2 adds the random shift to 8-bit hues. From numpy 2 on, a negative
    shift raises an OverflowError there, and with any numpy a sum above 255
    wraps around at 256 instead of 180, which gives another colour. Here the
    sum is computed in 16 bits; everything else is inherited.

    Required and modified keys are ``imgs``, a list of (H, W, 3) uint8 frames
    in RGB order.

    Args:
        brightness (float | tuple[float]): Range of the brightness factor; b
            means (1 - b, 1 + b). Defaults to 0.5.
        contrast (float | tuple[float]): Range of the contrast factor, as
            above. Defaults to 0.5.
        saturation (float | tuple[float]): Range of the saturation factor, as
            above. Defaults to 0.5.
        hue (float | tuple[float]): Range of the hue shift; h means (-h, h).
            Defaults to 0.1.
    """

    @staticmethod
    def adjust_hue(img: np.ndarray, factor: float) -> np.ndarray:
        """Shift the hues of a frame by the rule of MMAction2.

        hue' = (hue + int(255 * factor)) mod 180, in OpenCV's units of two
        degrees.

        Args:
            img (np.ndarray): (H, W, 3), RGB, of any real type.
            factor (float): Shift, in [-0.5, 0.5].

        Returns:
            np.ndarray: (H, W, 3), float32.
        """
        img = np.clip(img, 0, 255).astype(np.uint8)
        hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV)
        hues = hsv[..., 0].astype(np.int16) + int(factor * 255)
        hsv[..., 0] = hues % 180
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.float32)
