# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Temporal modelling by averaging at the end of the network."""

from mmaction.registry import MODELS

from .base import TemporalModule


@MODELS.register_module()
class TemporalAveraging(TemporalModule):
    """Module that keeps the frames separate ("Averaging", Table 3).

    The image model processes every frame independently, and the backbone or
    the head averages their features at the end, as in TSN. Accepts the
    arguments of :class:`TemporalModule` and has no parameter.
    """

    mixes_frames = False
