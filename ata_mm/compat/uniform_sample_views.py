# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Warn of views of ``UniformSample`` that are the same clip.

In tests, ``UniformSample`` shifts each of ``num_clips`` clips by a part of the
distance of its frames, rounded down. In a short video the shift is zero: the
four views of a video of 40 frames are one, and cost four passes.

Upstream: no known report; the code is in
https://github.com/open-mmlab/mmaction2/blob/v1.2.0/mmaction/datasets/transforms/loading.py#L413
"""

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np


def _with_warning(stock: Callable) -> Callable:
    """Extend the stock method by a warning."""

    @wraps(stock)
    def transform(self: Any, results: dict) -> dict:
        results = stock(self, results)
        if self.test_mode and self.num_clips > 1:
            clips = results['frame_inds'].reshape(self.num_clips, -1)
            different = len(np.unique(clips, axis=0))
            if different < self.num_clips:
                name = results.get('filename') or results.get('frame_dir')
                warnings.warn(
                    f'{name} has {results["total_frames"]} frames, too few '
                    f'for {self.num_clips} different clips of UniformSample: '
                    f'{different} of them are different',
                    stacklevel=2,
                )
        return results

    return transform


def needed() -> bool:
    """Return whether the transform is unmodified."""
    # Imported late: mmaction.datasets needs other shims first.
    from mmaction.datasets.transforms import UniformSample

    return not hasattr(UniformSample.transform, '__wrapped__')


def apply() -> None:
    """Add the warning."""
    from mmaction.datasets.transforms import UniformSample

    if needed():
        UniformSample.transform = _with_warning(UniformSample.transform)
