# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Support ``max_testing_views`` for any batch size.

``Recognizer3D`` runs the backbone on that many views at a time, to limit
memory, and asserts that they belong to one video. Its computation does not
depend on that, since the head groups the views by video, but validation with a
batch of videos fails. All views are therefore passed to the method as those of
one video.

Upstream: no known report; the assertion is in
https://github.com/open-mmlab/mmaction2/blob/v1.2.0/mmaction/models/recognizers/recognizer3d.py#L60
"""

from collections.abc import Callable
from functools import wraps

from torch import Tensor


def _any_batch_size(stock: Callable) -> Callable:
    """Pass the views of all videos to the stock method as one video."""

    @wraps(stock)
    def extract_feat(
        self,
        inputs: Tensor,
        stage: str = 'neck',
        data_samples: list | None = None,
        test_mode: bool = False,
    ) -> tuple:
        test_cfg = self.test_cfg or {}
        if test_mode and test_cfg.get('max_testing_views'):
            inputs = inputs.flatten(0, 1)[None]  # (1, B*V, 3, T, H, W)
        return stock(self, inputs, stage, data_samples, test_mode)

    return extract_feat


def needed() -> bool:
    """Return whether Recognizer3D is unmodified."""
    # Imported late: mmaction.models needs other shims first.
    from mmaction.models import Recognizer3D

    return not hasattr(Recognizer3D.extract_feat, '__wrapped__')


def apply() -> None:
    """Wrap ``Recognizer3D.extract_feat``."""
    if needed():
        from mmaction.models import Recognizer3D

        Recognizer3D.extract_feat = _any_batch_size(Recognizer3D.extract_feat)
