# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Registry of matchers.

Everything else is registered in ``mmaction.registry``, where configs find it
without a scope.
"""

from mmengine.registry import Registry

from ata_mm.ops import (
    AutoMatcher,
    CoarseToFineMatcher,
    DisplacementMatcher,
    ExactMatcher,
    LocalMatcher,
    SinkhornMatcher,
)
from ata_mm.ops.matching import build_matcher

MATCHERS = Registry(
    'matcher',
    build_func=build_matcher,
    scope='ata_mm',
    locations=['ata_mm.models.controls'],  # imported on use
)
MATCHERS.register_module(['AutoMatcher', 'auto'], module=AutoMatcher)
for _matcher in (
    CoarseToFineMatcher,
    DisplacementMatcher,
    ExactMatcher,
    LocalMatcher,
    SinkhornMatcher,
):
    MATCHERS.register_module(module=_matcher)
