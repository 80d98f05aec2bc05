# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Find misspelt keys in configs.

mmengine and MMAction2 ignore a key of a config that nobody reads, such as
``lod_from``, or notice it hours later, such as an option of mmengine's
CheckpointHook, which fails at the first save. A class without ``**kwargs``
refuses it when it is built.
"""

import difflib
import inspect
import re
from typing import Any, Collection, Iterator, List, Optional, Sequence, Tuple

from mmengine.config import Config
from mmengine.registry import root
from mmengine.registry.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

# Top-level keys that are no arguments of the runner.
_TOP = (
    'auto_scale_lr',
    'custom_imports',
    'default_scope',
    'env_cfg',
    'runner_type',
)


def _arguments(function: Any) -> Tuple[str, ...]:
    """Return the names of the arguments of a function or class."""
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    found = inspect.signature(function).parameters.values()
    return tuple(p.name for p in found if p.kind not in kinds)


# What the host reads of dictionaries that have no class of their own, by a
# pattern of their place in the config.
_CLOSED = {
    r'env_cfg': (
        'cudnn_benchmark',
        'dist_cfg',
        'mp_cfg',
        'resource_limit',
    ),
    r'env_cfg\.mp_cfg': ('mp_start_method', 'opencv_num_threads'),
    r'auto_scale_lr': ('base_batch_size', 'enable'),
    r'randomness': ('deterministic', 'diff_rank_seed', 'seed'),
    r'optim_wrapper\.clip_grad': (
        'clip_value',
        'error_if_nonfinite',
        'foreach',
        'max_norm',
        'norm_type',
        'type',
    ),
    # Not that of the test, which recipes of MMAction2 have wrong.
    r'(train|val)_dataloader': (
        *_arguments(DataLoader),
        'num_batch_per_epoch',
    ),
    r'model\.test_cfg': (
        'fcn_test',
        'feature_extraction',
        'max_testing_views',
        'num_segs',
    ),
}
_DEFAULT_PARAMWISE = (
    'bias_decay_mult',
    'bias_lr_mult',
    'bypass_duplicate',
    'custom_keys',
    'dcn_offset_lr_mult',
    'decay_mult',
    'dwconv_decay_mult',
    'flat_decay_mult',
    'lr_mult',
    'norm_decay_mult',
)


def check_option_keys(cfg: Config, options: Collection[str]) -> None:
    """Raise if ``--cfg-options`` sets what neither config nor runner knows.

    Args:
        cfg (Config): The config before the options are merged.
        options (Collection[str]): Dotted keys of the options.

    Raises:
        ValueError: If a key is unknown, with a similar one.
    """
    known = sorted({*cfg, *_arguments(Runner.__init__), *_TOP} - {'self'})
    for key in options:
        first = key.split('.')[0]
        if first not in known:
            raise _unknown(first, known, f'--cfg-options {key}')


def check_keys(cfg: Config) -> None:
    """Raise if a part of a config has a key that would be ignored.

    Checked are the parts of ata_mm, checkpoint hooks, and the dictionaries of
    the runner and of the recognizers that have no class of their own.

    Args:
        cfg (Config): The whole config.

    Raises:
        ValueError: If a key is unknown, with a similar one.
    """
    for place, part in _dictionaries('', cfg):
        known = _known_keys(place, part, cfg)
        if known is None:
            continue
        for key in part:
            if key not in known and key not in ('type', '_scope_'):
                raise _unknown(key, known, place)


def _known_keys(
    place: str, part: dict, cfg: Config
) -> Optional[Sequence[str]]:
    """Return the keys that a dictionary may have, None if unknown."""
    for pattern, known in _CLOSED.items():
        if re.fullmatch(pattern, place) and _is_ours_to_check(place, cfg):
            return known
    if place == 'optim_wrapper.paramwise_cfg':
        wrapper = cfg.optim_wrapper.get('constructor')
        default = wrapper in (None, 'DefaultOptimWrapperConstructor')
        return _DEFAULT_PARAMWISE if default else None
    if re.fullmatch(r'optim_wrapper\.paramwise_cfg\.custom_keys\..+', place):
        return ('decay_mult', 'lr_mult')
    return _class_arguments(part.get('type'))


def _is_ours_to_check(place: str, cfg: Config) -> bool:
    """Return whether the host's recognizers read a dictionary."""
    kind = str(cfg.get('model', {}).get('type', ''))
    return not place.startswith('model.') or 'Recognizer' in kind


def _class_arguments(name: Any) -> Optional[Sequence[str]]:
    """Return the arguments of a class of ata_mm or a checkpoint hook."""
    kind = _find_class(name) if isinstance(name, str) else name
    if not inspect.isclass(kind):
        return None
    ours = kind.__module__.split('.')[0] == 'ata_mm'
    if not ours and not kind.__name__.endswith('CheckpointHook'):
        return None
    names: List[str] = []
    for base in kind.__mro__:
        if '__init__' not in vars(base):
            continue
        init = vars(base)['__init__']
        names += _arguments(init)
        kinds = inspect.signature(init).parameters.values()
        # Of a checkpoint hook, they go to a function that refuses them.
        if not ours or not any(p.kind == p.VAR_KEYWORD for p in kinds):
            break
    return sorted({*names} - {'self'})


def _find_class(name: str) -> Optional[type]:
    """Return the class of a name, None if several registries have it."""
    name = name.split('.')[-1]
    found = {
        kind
        for registry in _registries()
        for kind in [registry.module_dict.get(name)]
        if inspect.isclass(kind)
    }
    return found.pop() if len(found) == 1 else None


def _registries() -> Iterator[Registry]:
    for registry in vars(root).values():
        if isinstance(registry, Registry):
            yield registry
            for children in registry.children.values():
                yield from (
                    children if isinstance(children, list) else [children]
                )


def _dictionaries(place: str, value: Any) -> Iterator[Tuple[str, dict]]:
    """Yield all dictionaries inside a value with their dotted places."""
    if isinstance(value, (list, tuple)):
        items = [(str(index), inner) for index, inner in enumerate(value)]
    elif isinstance(value, (dict, Config)):
        items = list(value.items())
        if place:
            yield place, value
    else:
        return
    for key, inner in items:
        yield from _dictionaries(f'{place}.{key}' if place else key, inner)


def _unknown(key: str, known: Sequence[str], place: str) -> ValueError:
    similar = difflib.get_close_matches(str(key), known, 1)
    hint = f' Did you mean {similar[0]}?' if similar else ''
    return ValueError(
        f'Expected a known key in {place}, got {key!r}.{hint} Known are: '
        f'{", ".join(known)}.'
    )
