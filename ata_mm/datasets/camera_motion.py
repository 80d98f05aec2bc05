# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""The camera motion data set.

It needs no download and separates temporal from spatial modelling: see
:mod:`.rendering`.
"""

from collections.abc import Sequence

import numpy as np
from mmaction.registry import DATASETS

from .layers import Layer
from .rendered import RenderedDataset
from .rendering import CLASSES, camera_poses, render_clip


@DATASETS.register_module()
class CameraMotionDataset(RenderedDataset):
    """Data set of camera motions, made on first use.

    Eight classes that no single frame distinguishes: see
    :func:`~ata_mm.datasets.rendering.render_clip`.
    """

    METAINFO = dict(classes=CLASSES)
    NAME = 'camera motion'

    render = staticmethod(render_clip)

    @staticmethod
    def layers(
        rng: np.random.Generator,
        label: int,
        num_frames: int,
        size: Sequence[int],
        speed: Sequence[float],
    ) -> list[Layer]:
        """Return the plane of the scene."""
        return [Layer(camera_poses(rng, label, num_frames, size, speed))]
