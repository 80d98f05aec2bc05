# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Data transforms."""

import cv2
import numpy as np
from mmaction.datasets.transforms import (
    ArrayDecode,
    ColorJitter,
    DecordDecode,
)
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.fileio import get_local_path

from ata_mm.video import VideoReader, open_video
from ata_mm.video.pipeline import with_suffix

from .layers import shown_layer

# Pixels between the positions of different planes; float32 is exact enough.
_APART = 1e4


@TRANSFORMS.register_module()
class VideoInit(BaseTransform):
    """Open a video file with a reader that finds the frames asked for.

    Takes the place of MMAction2's ``DecordInit``, ``PyAVInit`` and
    ``OpenCVInit``. Required key is ``filename``; added keys are
    ``video_reader``, ``total_frames`` and ``avg_fps``.

    Args:
        decoder (str): ``'auto'``, ``'decord'``, ``'pyav'``, ``'opencv'`` or
            ``'torchcodec'``, see :func:`ata_mm.video.open_video`. Defaults to
            ``'auto'``.
        num_threads (int): Decoding threads; 0 for the decoder's choice.
            Defaults to 1.
        backend_args (dict, optional): Where files are stored, as in
            :func:`mmengine.fileio.get_local_path`. Defaults to None, a path
            or an address in the file name.

    Example:
        >>> pipeline = [
        ...     dict(type='VideoInit', decoder='auto'),
        ...     dict(type='SampleFrames', clip_len=8, frame_interval=8),
        ...     dict(type='VideoDecode'),
        ... ]
    """

    def __init__(
        self,
        decoder: str = 'auto',
        num_threads: int = 1,
        backend_args: dict | None = None,
    ) -> None:
        if not isinstance(num_threads, int):
            raise ValueError(
                f'Expected an integer for num_threads, got {num_threads!r}.'
            )
        self.decoder = decoder
        self.num_threads = num_threads
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Open the file, under its name or its name with '.mp4'.

        Raises:
            FileNotFoundError: If the file does not exist.
            VideoError: If it is not a video or cannot be decoded.
        """
        name = results['filename']
        is_local = self.backend_args is None and '://' not in name
        name = with_suffix(name, is_local)
        if is_local:
            reader = open_video(name, self.decoder, self.num_threads)
        else:
            reader = self._open_remote(name)
        results['video_reader'] = reader
        results['total_frames'] = len(reader)
        results['avg_fps'] = reader.fps
        return results

    def _open_remote(self, name: str) -> VideoReader:
        """Open a copy, which the reader removes when it is closed."""
        copy = get_local_path(name, backend_args=self.backend_args)
        path = copy.__enter__()
        try:
            reader = open_video(path, self.decoder, self.num_threads)
        except BaseException:
            copy.__exit__(None, None, None)
            raise
        reader.resources.push(copy)
        return reader

    def __repr__(self) -> str:
        return (
            f'VideoInit(decoder={self.decoder!r}, '
            f'num_threads={self.num_threads})'
        )


@TRANSFORMS.register_module()
class VideoDecode(DecordDecode):
    """Decode the sampled frames of a video that ``VideoInit`` opened.

    Required keys are ``video_reader`` and ``frame_inds``; added keys are
    ``imgs``, a list of (H, W, 3) uint8 frames in RGB order,
    ``original_shape`` and ``img_shape``. Boxes are scaled as in MMAction2.
    """

    def __init__(self) -> None:
        super().__init__()

    def _decord_load_frames(
        self, container: VideoReader, frame_inds: np.ndarray
    ) -> list[np.ndarray]:
        with container:
            return container.frames(frame_inds)

    def __repr__(self) -> str:
        return 'VideoDecode()'


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


@TRANSFORMS.register_module()
class CachedVideo(BaseTransform):
    """Decode a whole video once, shrink it, and keep it in memory.

    For many epochs over small videos. Sample from the frames with
    ``ArrayDecode``. Required key is ``filename``; added keys are ``array``,
    frames (T, H, W, 3), uint8, RGB, and ``total_frames``.

    Each worker has a cache of its own, of all videos that it has read.

    Args:
        height (int): Height of the frames in memory; areas are averaged.

    Example:
        >>> pipeline = [
        ...     dict(type='CachedVideo', height=24),
        ...     dict(type='SampleFrames', clip_len=8),
        ...     dict(type='ArrayDecode'),
        ... ]
    """

    def __init__(self, height: int) -> None:
        self.height = height
        self._videos: dict[str, np.ndarray] = {}

    def transform(self, results: dict) -> dict:
        """Read a video, from memory from the second time on.

        Raises:
            FileNotFoundError: If the file does not exist.
            VideoError: If it is not a video or cannot be decoded.
        """
        name = results['filename']
        if name not in self._videos:
            self._videos[name] = self._read(name)
        # A copy: transforms such as Flip change their frames in place.
        results['array'] = self._videos[name].copy()
        results['total_frames'] = len(results['array'])
        return results

    def _read(self, name: str) -> np.ndarray:
        with open_video(with_suffix(name)) as reader:
            frames = reader.frames(range(len(reader)))
        height, width = frames[0].shape[:2]
        size = round(width * self.height / height), self.height
        return np.stack(
            [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames]
        )

    def __repr__(self) -> str:
        return f'CachedVideo(height={self.height})'


@TRANSFORMS.register_module()
class ArrayDecodeWithPositions(ArrayDecode):
    """Take frames from an array, and append what point each pixel shows.

    The true motion of rendered videos, for
    :class:`~ata_mm.models.controls.TrueMotionTimeSformer`. Every pixel gets
    the position (x, y), in pixels of these frames, at which the point that it
    shows would be in the first of them. The positions of different planes are
    far from each other. Crops may follow, but no resizing or flipping.

    Takes the place of ``ArrayDecode``. Required keys are ``array``,
    ``frame_inds``, and ``layers`` and ``size``, which
    :class:`~ata_mm.datasets.RenderedDataset` provides; added key is ``imgs``,
    a list of (H, W, 5), float32.
    """

    def transform(self, results: dict) -> dict:
        """Take frames, and append two channels."""
        results = super().transform(results)
        height, width = results['img_shape']
        scale = results['size'][0] / width
        layers = [
            layer.seen(results['frame_inds'], scale)
            for layer in results['layers']()
        ]
        rows, columns = np.mgrid[:height, :width]
        pixels = np.stack([columns, rows], -1)
        for i in range(len(results['frame_inds'])):
            shown = shown_layer(layers, pixels, i)
            points = np.zeros(pixels.shape)
            for index, layer in enumerate(layers):
                own = shown == index
                points[own] = layer.move(pixels[own], i, 0) + index * _APART
            channels = np.concatenate([results['imgs'][i], points], -1)
            results['imgs'][i] = channels.astype(np.float32)
        return results

    def __repr__(self) -> str:
        return 'ArrayDecodeWithPositions()'
