# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Independent scores of the labels of multi-label heads.

With ``average_clips='prob'`` all heads of MMAction2 normalise their scores by
softmax, also a head with ``multi_class=True``, which is trained with one
binary cross entropy for each label. Its labels then compete, and the scores of
different videos, which the mean average precision ranks, do not compare. Here
such a head returns the sigmoid of each score, averaged over the views.

Upstream: no known report; the code is in
https://github.com/open-mmlab/mmaction2/blob/v1.2.0/mmaction/models/heads/base.py#L189
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor


def _with_sigmoid(stock: Callable) -> Callable:
    """Extend the stock method by multi-label heads."""

    @wraps(stock)
    def average_clip(
        self: Any, cls_scores: Tensor, num_segs: int = 1
    ) -> Tensor:
        if not (self.multi_class and self.average_clips == 'prob'):
            return stock(self, cls_scores, num_segs)
        return cls_scores.sigmoid().unflatten(0, (-1, num_segs)).mean(1)

    return average_clip


def needed() -> bool:
    """Return whether the heads are unmodified."""
    # Imported late: mmaction.models needs other shims first.
    from mmaction.models.heads import BaseHead

    return not hasattr(BaseHead.average_clip, '__wrapped__')


def apply() -> None:
    """Extend the heads."""
    from mmaction.models.heads import BaseHead

    if needed():
        BaseHead.average_clip = _with_sigmoid(BaseHead.average_clip)
