# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Let ``max_testing_views`` bound memory whatever the batch size is.

``Recognizer3D`` sends that many views at a time through the backbone, but
asserts that they are of one video, though nothing it does depends on that: the
head finds the views of each video by itself. Validation with a batch of videos
then fails too. So all views are handed over as those of one video.

Upstream: no report is known; the assertion is in
https://github.com/open-mmlab/mmaction2/blob/v1.2.0/mmaction/models/recognizers/recognizer3d.py#L60
"""  # noqa: E501
from functools import wraps
from typing import Callable, Optional

from torch import Tensor


def _any_batch_size(stock: Callable) -> Callable:
    """Hide from the stock method how many videos the views are of."""

    @wraps(stock)
    def extract_feat(self,
                     inputs: Tensor,
                     stage: str = 'neck',
                     data_samples: Optional[list] = None,
                     test_mode: bool = False) -> tuple:
        test_cfg = self.test_cfg or {}
        if test_mode and test_cfg.get('max_testing_views'):
            inputs = inputs.flatten(0, 1)[None]  # (1, B*V, 3, T, H, W)
        return stock(self, inputs, stage, data_samples, test_mode)

    return extract_feat


def needed() -> bool:
    """Whether Recognizer3D is the stock one."""
    # Imported late: other shims must be there before.
    from mmaction.models import Recognizer3D
    return not hasattr(Recognizer3D.extract_feat, '__wrapped__')


def apply() -> None:
    """Wrap ``Recognizer3D.extract_feat``."""
    if needed():
        from mmaction.models import Recognizer3D
        Recognizer3D.extract_feat = _any_batch_size(Recognizer3D.extract_feat)
