# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Registries of ata_mm.

Backbones, necks and temporal modules go into ``mmaction.registry.MODELS``, so
that a config finds them without a scope; only matchers are a kind of their
own.
"""
from typing import Any, Union

from mmengine.registry import Registry

from ata_mm.ops import (AutoMatcher, CoarseToFineMatcher, DisplacementMatcher,
                        ExactMatcher, LocalMatcher, SinkhornMatcher)


def _build_matcher(cfg: Union[str, dict], registry: Registry) -> Any:
    """Build from the config alone, whatever mmengine's default scope is.

    mmengine's own build function would look for matchers in the default scope
    of the run ('mmaction') and warn about not finding any.
    """
    options = dict(type=cfg) if isinstance(cfg, str) else dict(cfg or {})
    name = options.pop('type', None)
    matcher = registry.get(name) if isinstance(name, str) else None
    if matcher is None:
        raise ValueError(
            'Expected matcher=NAME or dict(type=NAME, ...) with NAME one of '
            f'{sorted(registry.module_dict)}, got {cfg!r}. A matcher of your '
            'own is registered with @ata_mm.registry.MATCHERS.'
            'register_module().')
    return matcher(**options)


MATCHERS = Registry(
    'matcher',
    build_func=_build_matcher,
    scope='ata_mm',
    locations=['ata_mm.registry'])
MATCHERS.register_module(['AutoMatcher', 'auto'], module=AutoMatcher)
for matcher in (CoarseToFineMatcher, DisplacementMatcher, ExactMatcher,
                LocalMatcher, SinkhornMatcher):
    MATCHERS.register_module(module=matcher)
