# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Registry of matchers.

Everything else is registered in ``mmaction.registry``, where configs find it
without a scope.
"""

from collections.abc import Mapping

from mmengine.registry import Registry

from ata_mm.ops import (
    AutoMatcher,
    CoarseToFineMatcher,
    DisplacementMatcher,
    ExactMatcher,
    LocalMatcher,
    Matcher,
    SinkhornMatcher,
)
from ata_mm.ops.matching import as_matcher


def build_matcher(cfg: object, registry: Registry) -> Matcher:
    """Build a matcher from a config.

    Args:
        cfg (str | dict | Matcher | Callable): Name of a registered matcher,
            or ``dict(type=NAME, ...)`` with its arguments, where NAME may be
            the class itself; a matcher or function as in `as_matcher`.
        registry (Registry): :data:`MATCHERS`, which passes itself.

    Returns:
        Matcher: The registered class with these arguments. An instance of a
        class that does not derive from `Matcher` is wrapped as a callable.

    Raises:
        ValueError: If the name is not registered, or it is none of these.
    """
    if cfg is not None and not isinstance(cfg, (str, Mapping)):
        return as_matcher(cfg)
    # mmengine's own build function would search the default scope of the run,
    # 'mmaction', and warn that it has no matchers.
    options = dict(type=cfg) if isinstance(cfg, str) else dict(cfg or {})
    options.pop('_scope_', None)  # of mmengine: matchers are in one registry
    kind = options.pop('type', None)
    if not isinstance(kind, type):
        kind = registry.get(kind) if isinstance(kind, str) else None
    if kind is None:
        raise ValueError(
            'Expected matcher=NAME or dict(type=NAME, ...) with NAME one of '
            f'{sorted(registry.module_dict)}, got {cfg!r}. Register your '
            'matcher with @ata_mm.registry.MATCHERS.register_module().'
        )
    return as_matcher(kind(**options))


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
