# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Action recognition in a window that slides over a stream of frames."""

import warnings
from collections.abc import Iterable, Iterator
from math import gcd
from typing import Any, NamedTuple

import numpy as np
from mmengine.dataset import Compose

from ata_mm.introspection import temporal_modules
from ata_mm.models import ATA
from ata_mm.ops import MatchingCache
from ata_mm.video.pipeline import (
    count_crops,
    decoding_index,
    sampling_index,
    step_names,
)

from .recognizer import VideoRecognizer


class WindowPrediction(NamedTuple):
    """Recognised labels of a window.

    Args:
        first (int): Index of its first frame in the video, from 0.
        last (int): Index of its last frame.
        labels (list[tuple[str, float]]): Labels and scores, the best first.
    """

    first: int
    last: int
    labels: list[tuple[str, float]]

    def seconds(self, fps: float) -> tuple[float, float]:
        """Return the start and the end of the window in the video.

        Args:
            fps (float): Frames a second.

        Returns:
            tuple[float, float]: Both in seconds.
        """
        return self.first / fps, (self.last + 1) / fps


class ClipSampling(NamedTuple):
    """Selection of the frames of a clip by a test pipeline.

    Args:
        frames (int): Number of frames.
        interval (int, optional): Distance of neighbouring frames in the video;
            None if they are spread over the whole video.
        segments (int): Number of one-frame clips that make up the input of a
            2D recognizer; 1 for others.
    """

    frames: int
    interval: int | None
    segments: int


class StreamRecognizer:
    """Recognise the action in each window of a video of any length.

    A window is a clip as the config's test pipeline samples it: ``clip_len``
    frames, every ``frame_interval``-th. The crops are those of the test
    pipeline; its ``num_clips`` is not used. Every frame is resized and cropped
    once, when it arrives, and only the frames of the current window are kept:
    memory does not grow with the video.

    Neighbouring windows share frames if the stride is a multiple of the frame
    interval. The matchings of shared frame pairs are then solved once, in the
    first ATA of the network, unless an earlier module mixes frames: for image
    models in ``ATABackbone``, ``ATAConvNeXt`` and ``ATACycleMLP`` with equal
    scores; for ``ATATimeSformer`` with ``match_on='content'`` if a tolerance
    is given, which may change the scores slightly; never with
    ``match_on='tokens'``, since the time embedding changes the features of a
    frame from window to window; and with ``reference='previous'`` only, since
    other references depend on where a window starts. ``refine`` is computed
    for each window. See :class:`~ata_mm.ops.MatchingCache`.

    Args:
        recognizer (VideoRecognizer): The model and its config.
        window (int, optional): Length of a window, in frames of the video. The
            frame interval is this length divided by the frames of a clip,
            rounded. Defaults to None, the frame interval of the config.
        stride (int, optional): Distance of the starts of neighbouring windows,
            in frames of the video. Defaults to None, half a window.
        topk (int): Largest number of labels to return. Defaults to 5.
        reuse_tolerance (float, optional): Reuse the matchings of shared frame
            pairs if the features agree up to this difference, relative to
            their root mean square. Defaults to 0, equal to the bit, which
            leaves the scores unchanged. None reuses none.

    Attributes:
        clip (ClipSampling): Frames of a clip.
        interval (int): Distance of the frames of a window in the video.
        stride (int): As above.
        cache (MatchingCache): Counts solved and reused matchings.
        no_reuse (str): Reason why no matching is reused, or ''.

    Raises:
        ValueError: If the pipeline spreads a clip over the whole video and no
            window is given, or window or stride are too short.

    Example:
        >>> stream = StreamRecognizer(VideoRecognizer(config, checkpoint))
        >>> for first, last, labels in stream(frames):  # RGB, (H, W, 3)
        ...     print(first, last, labels[0])
    """

    def __init__(
        self,
        recognizer: VideoRecognizer,
        window: int | None = None,
        stride: int | None = None,
        topk: int = 5,
        reuse_tolerance: float | None = 0.0,
    ) -> None:
        self.recognizer = recognizer
        self.topk = topk
        steps = list(recognizer.cfg.test_dataloader.dataset.pipeline)
        self.clip = find_sampling(steps)
        self.interval = _interval(self.clip, window)
        self._spreads = window is not None
        self.stride = (
            stride
            if stride is not None
            else max(self.clip.frames // 2, 1) * self.interval
        )
        if self.stride < 1:
            raise ValueError(
                f'Expected a stride of 1 frame or more, got {stride}.'
            )
        self._num_crops = count_crops(steps)
        self._transform, self._pack = _split(steps)
        self.reuse_tolerance = reuse_tolerance
        self._ata, self.no_reuse = self._find_ata()
        self.reset()

    def reset(self) -> None:
        """Discard all frames, to start another video."""
        self.cache = MatchingCache(self.reuse_tolerance or 0.0)
        self._count = 0  # frames pushed
        self._start = 0  # of the current window
        self._crops: dict[int, list[np.ndarray]] = {}  # by frame index

    def __call__(
        self, frames: Iterable[np.ndarray]
    ) -> Iterator[WindowPrediction]:
        """Recognise window after window.

        Args:
            frames (Iterable[np.ndarray]): RGB, (H, W, 3), uint8.

        Yields:
            WindowPrediction: As soon as the last frame of a window arrives.

        Raises:
            ValueError: If there is no frame, or a frame has another shape or
                type.
        """
        self.reset()
        for frame in frames:
            prediction = self.push(frame)
            if prediction is not None:
                yield prediction
        prediction = self.finish()
        if prediction is not None:
            yield prediction

    def push(self, frame: np.ndarray) -> WindowPrediction | None:
        """Add the next frame.

        Args:
            frame (np.ndarray): RGB, (H, W, 3), uint8. It may be changed
                afterwards.

        Returns:
            WindowPrediction | None: The prediction if a window ends with this
            frame.

        Raises:
            ValueError: If the frame has another shape or type.
        """
        index = self._count
        self._count += 1
        if not self._is_needed(index):
            return None
        self._crops[index] = self._prepare(frame)
        window = [
            self._start + i * self.interval for i in range(self.clip.frames)
        ]
        if index < window[-1]:
            return None
        prediction = self._predict(window)
        self._start += self.stride
        for old in [n for n in self._crops if not self._is_needed(n)]:
            del self._crops[old]
        return prediction

    def finish(self) -> WindowPrediction | None:
        """End the video.

        Returns:
            WindowPrediction | None: The prediction if the video is shorter
            than a window: with its frames repeated, as by ``SampleFrames``, or
            with the clip spread over them if the length of the window was
            given.

        Raises:
            ValueError: If there is no frame.
        """
        if self._count == 0:
            raise ValueError('Expected frames, got none.')
        if self._start > 0:
            return None
        frames, count = self.clip.frames, self._count
        if self._spreads:
            last = max(frames - 1, 1)
            window = [i * (count - 1) // last for i in range(frames)]
            what = 'The clip is spread over them.'
        else:
            window = [i * self.interval % count for i in range(frames)]
            what = 'Some are repeated.'
        warnings.warn(
            f'The video has {count} frames, fewer than the '
            f'{(frames - 1) * self.interval + 1} of a window. {what}',
            stacklevel=2,
        )
        return self._predict(window)

    def describe(self) -> str:
        """Return a sentence about the windows and the frames they share."""
        frames, pairs = self.clip.frames, self._shared_pairs()
        length = (frames - 1) * self.interval + 1
        text = (
            f'windows of {frames} frames, one in {self.interval}, over '
            f'{length} of the video, one every {self.stride}; '
        )
        if self.no_reuse:
            return f'{text}no matching is reused: {self.no_reuse}'
        return f'{text}the next one shares {pairs} of {frames - 1} frame pairs'

    def report(self) -> str:
        """Return a sentence about the number of reused matchings."""
        if self.no_reuse:
            return f'no matching was reused: {self.no_reuse}'
        text = (
            f'matchings of the first ATA: {self.cache.solved} solved, '
            f'{self.cache.reused} reused'
        )
        if self.cache.reused or self._start <= self.stride:
            return text
        return (
            f'{text}: the matched features depend on the position of a frame '
            "in the window, by rounding with match_on='content' (see reuse "
            "tolerance), by the time embedding with match_on='tokens', or by "
            'a backbone that mixes frames'
        )

    def _is_needed(self, index: int) -> bool:
        """Return whether this window or a later one contains a frame."""
        if self._start == 0:  # any, since the video may end within the window
            return True
        step = gcd(self.interval, self.stride)
        return index >= self._start and (index - self._start) % step == 0

    def _prepare(self, frame: np.ndarray) -> list[np.ndarray]:
        """Return the resized crops of a frame."""
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise ValueError(
                'Expected RGB frames (H, W, 3) of uint8, got '
                f'{frame.dtype} of {frame.shape}.'
            )
        size = frame.shape[:2]
        results = dict(
            imgs=[frame],
            original_shape=size,
            img_shape=size,
            modality='RGB',
            num_clips=1,
            clip_len=1,
        )
        # Copied, since a crop is a view that keeps the whole frame alive.
        return [crop.copy() for crop in self._transform(results)['imgs']]

    def _predict(self, window: list[int]) -> WindowPrediction:
        sizes = {crop.shape for i in window for crop in self._crops[i]}
        if len(sizes) > 1:
            raise ValueError(
                f'Expected crops of one size in a window, got {sizes}: the '
                'resolution of the stream has changed. Add a CenterCrop, or '
                'Resize with keep_ratio=False, to the test pipeline.'
            )
        crops = zip(*(self._crops[index] for index in window))
        segments = self.clip.segments
        sample = self._pack(
            dict(
                imgs=[image for crop in crops for image in crop],
                modality='RGB',
                num_clips=segments,
                clip_len=self.clip.frames // segments,
            )
        )
        if self._ata is not None:
            self._ata.aligner.cache = self.cache
        try:
            scores = self.recognizer.inferencer.score([sample])[0]
        finally:  # other streams may use the same model
            if self._ata is not None:
                self._ata.aligner.cache = None
        return WindowPrediction(
            min(window), max(window), self.recognizer.rank(scores, self.topk)
        )

    def _shared_pairs(self) -> int:
        """Return the number of frame pairs shared with the next window."""
        if self.stride % self.interval:
            return 0
        return max(self.clip.frames - 1 - self.stride // self.interval, 0)

    def _find_ata(self) -> tuple[ATA | None, str]:
        """Return the module that gets the cache, or None and the reason."""
        if self.reuse_tolerance is None:
            return None, 'switched off'
        if self.stride % self.interval:
            return None, (
                f'the stride of {self.stride} frames is no multiple '
                f'of the frame interval, {self.interval}'
            )
        if self._shared_pairs() == 0:
            return None, 'windows share no frame pair'
        crops = self._num_crops
        test_cfg: Any = self.recognizer.model.test_cfg or {}
        views = test_cfg.get('max_testing_views')
        if views and crops > views:  # the cache has those of the last call
            return None, (
                f'max_testing_views={views} calls the model several times for '
                f'the {crops} crops of a window'
            )
        for _, module in temporal_modules(self.recognizer.model):
            if isinstance(module, ATA):
                reason = _why_not_reused(module)
                return None if reason else module, reason
            if module.mixes_frames:
                return None, (
                    f'{type(module).__name__} mixes frames before any ATA'
                )
        return None, 'the model has no ATA'


def _why_not_reused(module: ATA) -> str:
    """Return the reason why a module reuses no matching, or ''."""
    reference = module.aligner.options['reference']
    if reference in ('previous', 1):
        return ''
    return (
        f'reference={reference!r} matches frames to one that depends on where '
        'the window starts'
    )


def find_sampling(steps: list[dict]) -> ClipSampling:
    """Find the selection of frames in a test pipeline.

    Args:
        steps (list[dict]): The pipeline.

    Returns:
        ClipSampling: That of the first transform with 'Sample' in its name.

    Raises:
        ValueError: If there is no such transform.
    """
    names = step_names(steps)
    sample = sampling_index(steps)
    if sample is None:
        raise ValueError(
            'Expected a transform that samples frames in the '
            f'test pipeline, got {", ".join(names)}.'
        )
    name, step = names[sample], steps[sample]
    frames, segments = step.get('clip_len', 1), 1
    if frames == 1:  # Recognizer2D
        frames = segments = step.get('num_clips', 1)
    dense = name in ('SampleFrames', 'DenseSampleFrames') and segments == 1
    if not dense or step.get('target_fps'):
        return ClipSampling(frames, None, segments)
    return ClipSampling(frames, step.get('frame_interval', 1), segments)


def _interval(clip: ClipSampling, window: int | None) -> int:
    """Return the distance of the frames of a window in the video."""
    if window is None:
        if clip.interval is None:
            raise ValueError(
                'Expected the length of a window, since the test pipeline '
                'spreads the frames of a clip over the whole video, got none.'
            )
        return clip.interval
    if window < clip.frames:
        raise ValueError(
            f'Expected a window of {clip.frames} frames or more, '
            f'the frames of a clip, got {window}.'
        )
    return round(window / clip.frames)


def _split(steps: list[dict]) -> tuple[Compose, Compose]:
    """Return the transforms of single frames, and those that pack a clip."""
    names = step_names(steps)
    decode = decoding_index(steps)
    if decode is None or 'FormatShape' not in names[decode:]:
        raise ValueError(
            'Expected a test pipeline that decodes videos, with FormatShape '
            f'after decoding, got {", ".join(names)}.'
        )
    end = names.index('FormatShape')
    return Compose(steps[decode + 1 : end]), Compose(steps[end:])
