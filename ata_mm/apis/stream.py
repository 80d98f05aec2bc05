# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Recognise actions in a window that slides over a stream of frames."""
import warnings
from math import gcd
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
from mmengine.dataset import Compose
from torch import nn

from ata_mm.ops import MatchingCache
from ata_mm.video.pipeline import step_names

from .recognizer import VideoRecognizer


class WindowPrediction(NamedTuple):
    """What a window shows.

    Attributes:
        first (int): Number of its first frame, from 0.
        last (int): Number of its last frame.
        labels (list[tuple[str, float]]): Labels and scores, the best first.
    """
    first: int
    last: int
    labels: List[Tuple[str, float]]

    def seconds(self, fps: float) -> Tuple[float, float]:
        """When the window begins and ends, at a frame rate."""
        return self.first / fps, (self.last + 1) / fps


class Clip(NamedTuple):
    """How a test pipeline takes the frames of a clip.

    Attributes:
        frames (int): How many.
        interval (int | None): From one to the next; None where they are
            spread over the whole video.
        segments (int): Clips of one frame that make up the input of a 2D
            recognizer; 1 for others.
    """
    frames: int
    interval: Optional[int]
    segments: int


class StreamRecognizer:
    """Names what happens in each window of a video of any length.

    A window is a clip as the config's test pipeline takes it: ``clip_len``
    frames, every ``frame_interval``-th. Crops are those of the test pipeline;
    its ``num_clips`` does not count here. Every frame is resized and cropped
    once, when it comes, and only the frames of the present window are kept:
    memory does not grow with the video.

    Neighbouring windows share frames where the stride is a multiple of the
    frame interval. The matchings of those are then solved once, in the first
    ATA of the network, provided nothing has mixed frames before it: for image
    models in ``ATABackbone``, ``ATAConvNeXt`` and ``ATACycleMLP``, without any
    change of the scores; for ``ATATimeSformer`` with ``match_on='content'`` if
    a tolerance is given, which may change them a little; never for
    ``match_on='tokens'``, where the time embedding makes other features of a
    frame in each window. See :class:`~ata_mm.ops.MatchingCache`.

    Args:
        recognizer (VideoRecognizer): The model.
        window (int, optional): Length of a window in frames of the video. The
            frame interval becomes that, divided by the frames of a clip and
            rounded. Defaults to None: the config's frame interval.
        stride (int, optional): Frames of the video from the beginning of a
            window to that of the next. Defaults to None, half a window.
        topk (int): How many labels to list, at most. Defaults to 5.
        reuse_tolerance (float, optional): Solve the matchings of shared
            frames once where their features agree to this, relative to their
            root mean square. Defaults to 0: to the bit, so that scores do not
            change. None solves all.

    Raises:
        ValueError: If the pipeline spreads a clip over the whole video and no
            window is given, or window or stride are too short.

    Example:
        >>> stream = StreamRecognizer(VideoRecognizer(config, checkpoint))
        >>> for first, last, labels in stream(frames):  # RGB, (H, W, 3)
        ...     print(first, last, labels[0])
    """

    def __init__(self,
                 recognizer: VideoRecognizer,
                 window: Optional[int] = None,
                 stride: Optional[int] = None,
                 topk: int = 5,
                 reuse_tolerance: Optional[float] = 0.) -> None:
        self.recognizer = recognizer
        self.topk = topk
        steps = list(recognizer.cfg.test_dataloader.dataset.pipeline)
        self.clip = find_clip(steps)
        self.interval = _interval(self.clip, window)
        self.stride = stride if stride is not None else max(
            self.clip.frames // 2, 1) * self.interval
        if self.stride < 1:
            raise ValueError(f'expected a stride of 1 frame or more, got '
                             f'{stride}')
        self._each_frame, self._pack = _split(steps)
        self.reuse_tolerance = reuse_tolerance
        self._ata, self.no_reuse = self._find_ata()
        self.reset()

    def reset(self) -> None:
        """Forget all frames, as before another video."""
        self.cache = MatchingCache(self.reuse_tolerance or 0.)
        self._count = 0  # frames seen
        self._start = 0  # of the present window
        self._crops: Dict[int, List[np.ndarray]] = {}  # by frame number

    def __call__(self,
                 frames: Iterable[np.ndarray]) -> Iterator[WindowPrediction]:
        """Recognise window after window.

        Args:
            frames (Iterable[np.ndarray]): RGB, (H, W, 3), uint8.

        Yields:
            WindowPrediction: As soon as the last frame of a window has come.

        Raises:
            ValueError: If there is no frame, or one is not as above.
        """
        self.reset()
        for frame in frames:
            prediction = self.push(frame)
            if prediction is not None:
                yield prediction
        prediction = self.finish()
        if prediction is not None:
            yield prediction

    def push(self, frame: np.ndarray) -> Optional[WindowPrediction]:
        """Take the next frame; returns a prediction where it ends a window.

        Raises:
            ValueError: If it is not (H, W, 3), uint8.
        """
        index = self._count
        self._count += 1
        if not self._is_needed(index):
            return None
        self._crops[index] = self._prepare(frame)
        numbers = [
            self._start + i * self.interval for i in range(self.clip.frames)
        ]
        if index < numbers[-1]:
            return None
        prediction = self._predict(numbers)
        self._start += self.stride
        for number in [n for n in self._crops if not self._is_needed(n)]:
            del self._crops[number]
        return prediction

    def finish(self) -> Optional[WindowPrediction]:
        """End the video; returns a prediction where it was shorter than a
        window, of its frames over and over, as SampleFrames takes them.

        Raises:
            ValueError: If no frame has come.
        """
        if self._count == 0:
            raise ValueError('expected frames, got none')
        if self._start > 0:
            return None
        frames, count = self.clip.frames, self._count
        warnings.warn(f'the video has {count} frames, fewer than the '
                      f'{(frames - 1) * self.interval + 1} of a window; some '
                      'are repeated')
        return self._predict(
            [i * self.interval % count for i in range(frames)])

    def describe(self) -> str:
        """The windows and what they share, in words."""
        frames, pairs = self.clip.frames, self._shared_pairs()
        length = (frames - 1) * self.interval + 1
        text = (f'windows of {frames} frames, one in {self.interval}, over '
                f'{length} of the video, one every {self.stride}; ')
        if self.no_reuse:
            return f'{text}no matching is reused: {self.no_reuse}'
        return (f'{text}the next one shares {pairs} of {frames - 1} pairs of '
                'frames')

    def report(self) -> str:
        """How many matchings have been reused, in words."""
        if self.no_reuse:
            return f'no matching was reused: {self.no_reuse}'
        text = (f'matchings of the first ATA: {self.cache.solved} solved, '
                f'{self.cache.reused} reused')
        if self.cache.reused or self._start <= self.stride:
            return text
        return (f'{text}: what it compares differs with the place of a frame '
                "in the window, by rounding with match_on='content' (see "
                'reuse tolerance), by the time embedding with '
                "match_on='tokens'")

    def _is_needed(self, number: int) -> bool:
        """Whether the present window or a later one looks at a frame."""
        if self._start == 0:  # any frame, should the video end before it
            return True
        step = gcd(self.interval, self.stride)
        return number >= self._start and (number - self._start) % step == 0

    def _prepare(self, frame: np.ndarray) -> List[np.ndarray]:
        """Resize and crop a frame; its crops."""
        if (frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8):
            raise ValueError('expected RGB frames (H, W, 3) of uint8, got '
                             f'{frame.dtype} of {frame.shape}')
        size = frame.shape[:2]
        results = dict(
            imgs=[frame],
            original_shape=size,
            img_shape=size,
            modality='RGB',
            num_clips=1,
            clip_len=1)
        # Copied: a crop would keep the whole frame.
        return [crop.copy() for crop in self._each_frame(results)['imgs']]

    def _predict(self, numbers: List[int]) -> WindowPrediction:
        crops = zip(*(self._crops[number] for number in numbers))
        segments = self.clip.segments
        sample = self._pack(
            dict(
                imgs=[image for crop in crops for image in crop],
                modality='RGB',
                num_clips=segments,
                clip_len=self.clip.frames // segments))
        if self._ata is not None:
            self._ata.cache = self.cache
        try:
            scores = self.recognizer.inferencer.score([sample])[0]
        finally:  # the model may serve other streams, too
            if self._ata is not None:
                self._ata.cache = None
        return WindowPrediction(
            min(numbers), max(numbers),
            self.recognizer.rank(scores, self.topk))

    def _shared_pairs(self) -> int:
        """Pairs of neighbouring frames that the next window has, too."""
        if self.stride % self.interval:
            return 0
        return max(self.clip.frames - 1 - self.stride // self.interval, 0)

    def _find_ata(self) -> Tuple[Optional[nn.Module], str]:
        """The module that gets the cache, or None and the reason why not."""
        if self.reuse_tolerance is None:
            return None, 'switched off'
        if self.stride % self.interval:
            return None, (f'the stride of {self.stride} frames is no multiple '
                          f'of the frame interval, {self.interval}')
        if self._shared_pairs() == 0:
            return None, 'windows share no pair of frames'
        for module in self.recognizer.model.modules():
            if getattr(module, 'mixes_frames', False):
                if hasattr(module, 'cache'):
                    return module, ''
                return None, (f'{type(module).__name__} mixes frames before '
                              'any ATA')
        return None, 'the model has no ATA'


def find_clip(steps: List[dict]) -> Clip:
    """Find out how a test pipeline takes the frames of a clip.

    Args:
        steps (list[dict]): The pipeline.

    Returns:
        Clip: What its first transform with 'Sample' in its name says.

    Raises:
        ValueError: If there is none.
    """
    for name, step in zip(step_names(steps), steps):
        if 'Sample' in name:
            break
    else:
        raise ValueError('expected a transform that samples frames in the '
                         f'test pipeline, got {step_names(steps)}')
    frames, segments = step['clip_len'], 1
    if frames == 1:  # Recognizer2D
        frames = segments = step.get('num_clips', 1)
    dense = name in ('SampleFrames', 'DenseSampleFrames') and segments == 1
    if not dense or step.get('target_fps'):
        return Clip(frames, None, segments)
    return Clip(frames, step.get('frame_interval', 1), segments)


def parse_length(text: str, fps: float) -> int:
    """Read a length of time.

    Args:
        text (str): '64' for as many frames, '2.5s' for seconds.
        fps (float): Frames a second.

    Returns:
        int: Frames.

    Raises:
        ValueError: If it is neither.
    """
    try:
        if text.endswith('s'):
            return round(float(text[:-1]) * fps)
        return int(text)
    except (ValueError, OverflowError):
        raise ValueError('expected a number of frames such as 64, or of '
                         f'seconds such as 2.5s, got {text!r}') from None


def _interval(clip: Clip, window: Optional[int]) -> int:
    """Frames of the video from one of a window to the next."""
    if window is None:
        if clip.interval is None:
            raise ValueError(
                'expected the length of a window, since the test pipeline '
                'spreads the frames of a clip over the whole video')
        return clip.interval
    if window < clip.frames:
        raise ValueError(f'expected a window of {clip.frames} frames or more, '
                         f'which a clip has, got {window}')
    return round(window / clip.frames)


def _split(steps: List[dict]) -> Tuple[Compose, Compose]:
    """The transforms of single frames, and those that pack a clip."""
    names = step_names(steps)
    decodes = [i for i, name in enumerate(names) if 'Decode' in name]
    if not decodes or 'FormatShape' not in names[decodes[0]:]:
        raise ValueError(
            'expected a test pipeline that decodes videos and has '
            f'FormatShape after that, got {", ".join(names)}')
    end = names.index('FormatShape')
    return Compose(steps[decodes[0] + 1:end]), Compose(steps[end:])
