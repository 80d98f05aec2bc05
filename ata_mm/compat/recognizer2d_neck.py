# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Let a neck that keeps frames stand in ``Recognizer2D``.

Recognizer2D takes for granted that a backbone before a neck returns several
feature maps: of a backbone that returns one tensor, as in every TSN recipe, it
reshapes each image of the batch for itself, which fails or mixes channels with
frames. It also takes for granted that the neck leaves one feature map a video,
and tells the head so, which then compares frames with labels.

A neck with the attribute ``keeps_frames = True`` gets the frames of each video
as one (B, C, V, H, W), and the head gets the neck's result as the backbone's
without a neck. Other necks are left to MMAction2.

Upstream: no report is known; the code is in
https://github.com/open-mmlab/mmaction2/blob/v1.2.0/mmaction/models/recognizers/recognizer2d.py#L147
"""  # noqa: E501
from functools import wraps
from typing import Callable, Optional

from torch import Tensor


def _keep_frames(stock: Callable) -> Callable:
    """Add the case of a neck that keeps frames to the stock method."""

    @wraps(stock)
    def extract_feat(self,
                     inputs: Tensor,
                     stage: str = 'neck',
                     data_samples: Optional[list] = None,
                     test_mode: bool = False) -> tuple:
        neck = getattr(self, 'neck', None)
        if stage == 'backbone' or not getattr(neck, 'keeps_frames', False):
            return stock(self, inputs, stage, data_samples, test_mode)
        _check_options(neck, self.test_cfg if test_mode else None)
        maps, options = stock(self, inputs, 'backbone', data_samples,
                              test_mode)
        maps = (maps, ) if isinstance(maps, Tensor) else maps
        videos = inputs.shape[:2]  # (B, V)
        maps = [i.unflatten(0, videos).transpose(1, 2) for i in maps]
        x, options['loss_aux'] = neck(maps, data_samples=data_samples)
        x = x.transpose(1, 2).flatten(0, 1)  # (B*V, C, H, W)
        if stage == 'head':
            x = self.cls_head(x, **options)
        return x, options

    return extract_feat


def _check_options(neck: Callable, test_cfg: Optional[dict]) -> None:
    """Refuse what Recognizer2D cannot do with frames.

    Raises:
        ValueError: If the length of a clip is not known, or ``test_cfg`` has
            an option that fails in Recognizer2D, or would run the neck twice.
    """
    if neck.num_segments is None:
        raise ValueError(
            f'Expected {type(neck).__name__} in Recognizer2D to have '
            'num_segments, got None. It cannot tell frames from crops without '
            'it: set it to num_clips of SampleFrames.')
    for option in ('fcn_test', 'max_testing_views'):
        if test_cfg and test_cfg.get(option):
            raise ValueError(
                f'Expected a test_cfg without {option} for '
                f'{type(neck).__name__} in Recognizer2D, got {option}='
                f'{test_cfg[option]!r}. Leave it out; where memory is short, '
                'use a smaller test batch or fewer crops.')


def needed() -> bool:
    """Whether Recognizer2D is the stock one."""
    # Imported late: other shims must be there before.
    from mmaction.models import Recognizer2D
    return not hasattr(Recognizer2D.extract_feat, '__wrapped__')


def apply() -> None:
    """Wrap ``Recognizer2D.extract_feat``."""
    if needed():
        from mmaction.models import Recognizer2D
        Recognizer2D.extract_feat = _keep_frames(Recognizer2D.extract_feat)
