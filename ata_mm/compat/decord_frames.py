# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Let ``DecordInit`` and ``DecordDecode`` return the frames asked for.

decord 0.6.0 returns other frames than asked for from AVI, MPEG-PS, MPEG-TS,
WMV and some mp4 and mkv files, refuses several kinds of whole files, and
crashes on some damaged ones. On local files, ``DecordInit`` therefore does
what ``VideoInit`` does: it reads with decord where decord is right, with the
same frames as before, and with PyAV elsewhere.

Upstream: https://github.com/dmlc/decord/issues; decord is not maintained.
"""

from collections.abc import Callable
from functools import wraps


def _init(stock: Callable) -> Callable:
    @wraps(stock)
    def transform(self, results: dict) -> dict:
        # Imported late: it needs mmaction, which needs other shims.
        from ata_mm.datasets import VideoInit

        if self.io_backend != 'disk' or '://' in results['filename']:
            return stock(self, results)
        return VideoInit(num_threads=self.num_threads).transform(results)

    return transform


def _load(stock: Callable) -> Callable:
    @wraps(stock)
    def load_frames(self, container, frame_inds) -> list:
        from ata_mm.video import DecordReader, VideoReader

        if not isinstance(container, VideoReader):
            return stock(self, container, frame_inds)
        # Mode 'efficient' trades the frames asked for against speed.
        if self.mode == 'efficient' and isinstance(container, DecordReader):
            return stock(self, container.container, frame_inds)
        with container:
            return container.frames(frame_inds)

    return load_frames


def needed() -> bool:
    """Return whether ``DecordInit`` is unmodified."""
    from mmaction.datasets.transforms import DecordInit

    return not hasattr(DecordInit.transform, '__wrapped__')


def apply() -> None:
    """Wrap the transforms."""
    if needed():
        from mmaction.datasets.transforms import DecordDecode, DecordInit

        DecordInit.transform = _init(DecordInit.transform)
        DecordDecode._decord_load_frames = _load(
            DecordDecode._decord_load_frames
        )
