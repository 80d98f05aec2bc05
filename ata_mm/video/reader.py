# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Base class of the readers of video files."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import ExitStack

import numpy as np


class VideoError(ValueError):
    """A video file that cannot be read, with its name and the reason.

    Args:
        video (str): The file.
        reason (str): What was found, such as ``'is empty'``.
        remedy (str): What the user can do, a sentence. Defaults to ''.
    """

    def __init__(self, video: str, reason: str, remedy: str = '') -> None:
        super().__init__(video, reason, remedy)  # restored by pickle
        self.video, self.reason, self.remedy = video, reason, remedy

    def __str__(self) -> str:
        text = f'Expected a video file, but {self.video} {self.reason}.'
        return f'{text} {self.remedy}'.rstrip()


# Exit codes of processes that no decoder, but the system or a user has ended.
KILLED = (-signal.SIGKILL, -signal.SIGTERM)


def stopped_decoder(video: str, code: int) -> VideoError:
    """Return the error for a file that ended the process that read it.

    Args:
        video (str): The file.
        code (int): Exit code of the process, minus the signal if one
            killed it.
    """
    if code in KILLED:
        return killed(video, code)
    end = signal.Signals(-code).name if code < 0 else f'status {code}'
    return VideoError(
        video,
        f'stops the decoder ({end})',
        'It is damaged: restore it, or leave it out.',
    )


def killed(video: str, code: int) -> VideoError:
    """Return the error for a file whose process was killed from outside.

    Args:
        video (str): The file.
        code (int): Exit code of the process, one of :data:`KILLED`.
    """
    return VideoError(
        video,
        f'was being read when its process was killed '
        f'({signal.Signals(-code).name})',
        'If that was for lack of memory, use fewer processes or workers.',
    )


def too_slow(video: str, seconds: float) -> VideoError:
    """Return the error for a file that is not read in time.

    Args:
        video (str): The file.
        seconds (float): The time limit.
    """
    return VideoError(video, f'was not read within {seconds:g} s')


class VideoReader(ABC):
    """Frames of a video file by their number, in the order of display.

    A context manager.

    Args:
        video (str): The file.

    Attributes:
        decoder (str): Name of the decoder.
        fps (float): Average number of frames per second; 0 if unknown.
        resources (ExitStack): What is released with the reader.
    """

    decoder = ''

    def __init__(self, video: str) -> None:
        self.video = video
        self.fps = 0.0
        self.resources = ExitStack()

    def __enter__(self) -> 'VideoReader':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of frames T."""

    @property
    @abstractmethod
    def timestamps(self) -> np.ndarray:
        """Time of each frame in seconds, as the container has it, (T,)."""

    def frames(self, indices: Iterable[int]) -> list[np.ndarray]:
        """Decode frames.

        Args:
            indices (Iterable[int]): Numbers of frames, from 0, in any order;
                negative ones count from the end.

        Returns:
            list[np.ndarray]: RGB, (H, W, 3), uint8; no two share memory.

        Raises:
            IndexError: If there is no such frame.
            VideoError: If a frame cannot be decoded.
        """
        number, indices = len(self), [int(index) for index in indices]
        for index in indices:
            if not -number <= index < number:
                raise IndexError(
                    f'Expected numbers of frames below {number} in '
                    f'{self.video}, got {index}.'
                )
        wanted = [index % number for index in indices]
        decoded = self._decode(sorted(set(wanted)))
        # The last use of a frame takes it, earlier ones a copy.
        last = {index: place for place, index in enumerate(wanted)}
        return [
            decoded[index] if last[index] == place else decoded[index].copy()
            for place, index in enumerate(wanted)
        ]

    def close(self) -> None:
        """Release the file."""
        self.resources.close()

    @abstractmethod
    def _decode(self, indices: list[int]) -> dict[int, np.ndarray]:
        """Decode frames of increasing numbers."""
