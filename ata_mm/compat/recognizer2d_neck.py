# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Support necks that keep all frames in ``Recognizer2D``.

Recognizer2D assumes that a backbone before a neck returns several feature
maps. If it returns one tensor, as in every TSN recipe, each image of the batch
is reshaped by itself, which fails or mixes channels with frames. Recognizer2D
also assumes that the neck returns one feature map per video and passes that
number to the head, which then compares frames with labels.

A neck with the attribute ``keeps_frames = True`` gets the frames of each video
as one (B, C, V, H, W), and the head gets its output in the layout of a
backbone without a neck. MMAction2 handles all other necks.

Upstream: no known report; the code is in
https://github.com/open-mmlab/mmaction2/blob/v1.2.0/mmaction/models/recognizers/recognizer2d.py#L147
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor


def _keep_frames(stock: Callable) -> Callable:
    """Extend the stock method by necks that keep frames."""

    @wraps(stock)
    def extract_feat(
        self,
        inputs: Tensor,
        stage: str = 'neck',
        data_samples: list | None = None,
        test_mode: bool = False,
    ) -> tuple:
        neck: Any = getattr(self, 'neck', None)
        if stage == 'backbone' or not getattr(neck, 'keeps_frames', False):
            return stock(self, inputs, stage, data_samples, test_mode)
        _check_options(neck, self.test_cfg if test_mode else None)
        maps, options = stock(
            self, inputs, 'backbone', data_samples, test_mode
        )
        maps = (maps,) if isinstance(maps, Tensor) else maps
        videos = inputs.shape[:2]  # (B, V)
        maps = [i.unflatten(0, videos).transpose(1, 2) for i in maps]
        x, options['loss_aux'] = neck(maps, data_samples=data_samples)
        x = x.transpose(1, 2).flatten(0, 1)  # (B*V, C, H, W)
        if stage == 'head':
            x = self.cls_head(x, **options)
        return x, options

    return extract_feat


def _check_options(neck: Any, test_cfg: dict | None) -> None:
    """Raise if Recognizer2D does not support the options for frames.

    Raises:
        ValueError: If the length of a clip is unknown, or ``test_cfg`` has an
            option that fails in Recognizer2D or would run the neck twice.
    """
    if neck.num_segments is None:
        raise ValueError(
            f'Expected {type(neck).__name__} in Recognizer2D to have '
            'num_segments, got None. Set it to num_clips of SampleFrames, '
            'which separates frames from crops.'
        )
    for option in ('fcn_test', 'max_testing_views'):
        if test_cfg and test_cfg.get(option):
            raise ValueError(
                f'Expected a test_cfg without {option} for '
                f'{type(neck).__name__} in Recognizer2D, got {option}='
                f'{test_cfg[option]!r}. Remove it; to save memory, use a '
                'smaller test batch or fewer crops.'
            )


def needed() -> bool:
    """Return whether Recognizer2D is unmodified."""
    # Imported late: mmaction.models needs other shims first.
    from mmaction.models import Recognizer2D

    return not hasattr(Recognizer2D.extract_feat, '__wrapped__')


def apply() -> None:
    """Wrap ``Recognizer2D.extract_feat``."""
    if needed():
        from mmaction.models import Recognizer2D

        Recognizer2D.extract_feat = _keep_frames(Recognizer2D.extract_feat)
