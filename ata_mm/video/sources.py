# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The frames of a video file, a camera or a network stream, one by one."""
from typing import Iterator, Optional

import cv2
import numpy as np

from .files import check_video_file, undecodable


class FrameSource:
    """Decodes one frame after the other, and keeps none.

    OpenCV reads files, cameras and network streams alike. Frames of a
    whole file are those that decord, and with it MMAction2's pipelines,
    decode; both use FFmpeg.

    Args:
        source (str): A video file, the number of a camera ('0'), or an address
            such as ``rtsp://…``.

    Attributes:
        fps (float | None): Frames a second; None where the source does not
            tell.
        num_frames (int | None): How many a file has by its header; None for a
            camera or a network stream.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no video, or the camera or the address does not
            answer; after its last frame, if a file has far fewer of them than
            its header says.

    Example:
        >>> with FrameSource('clip.mp4') as frames:
        ...     for frame in frames:  # RGB, (H, W, 3), uint8
        ...         ...
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.is_file = not source.isdecimal() and '://' not in source
        if self.is_file:
            check_video_file(source)
        name = int(source) if source.isdecimal() else source
        self._capture = cv2.VideoCapture(name)
        if not self._capture.isOpened():
            if self.is_file:
                raise undecodable(source)
            raise ValueError(f'{source} does not answer; expected the number '
                             'of a camera or the address of a stream')
        self.fps: Optional[float] = (
            self._capture.get(cv2.CAP_PROP_FPS) or None)
        self.num_frames: Optional[int] = None
        if self.is_file:
            self.num_frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def __enter__(self) -> 'FrameSource':
        return self

    def __exit__(self, *error) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[np.ndarray]:
        number = 0
        while True:
            there, frame = self._capture.read()
            if not there:
                break
            number += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        # Headers of good files may be wrong by a few.
        if number < 0.9 * (self.num_frames or 0):
            raise ValueError(
                f'{self.source} is damaged: decoding ended after {number} of '
                f'{self.num_frames} frames')
