# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Find misspelt keys in configs.

mmengine and MMAction2 ignore a key of a config that nobody reads, such as
``lod_from``, or notice it hours later, such as an option of mmengine's
CheckpointHook, which fails at the first save. A class without ``**kwargs``
refuses it when it is built; many data transforms have them and ignore it.
"""

import difflib
import inspect
import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any

from mmengine.config import Config
from mmengine.registry import root
from mmengine.registry.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

# Top-level keys that are no arguments of the runner. It reads most of them
# from its config.
_TOP = (
    'activation_checkpointing',
    'auto_scale_lr',
    'compile',
    'custom_imports',
    'default_scope',
    'efficient_conv_bn_eval',
    'env_cfg',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
)


@cache
def _arguments(function: Any) -> tuple[str, ...]:
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
        'disable_subprocess_warning',
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


_DEFAULT_HOOKS = (
    'checkpoint',
    'logger',
    'param_scheduler',
    'runtime_info',
    'sampler_seed',
    'timer',
)
# Similarity of names, as of difflib, of which one is hardly meant to be new.
_NEARLY_EQUAL = 0.8


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
        first, *others = key.split('.')
        if first not in known:
            raise _unknown(first, known, f'--cfg-options {key}')
        _check_parts(cfg.get(first), others[:-1], key)


def _check_parts(part: Any, names: Sequence[str], option: str) -> None:
    """Raise if an option would add a part beside one of a similar name."""
    for name in names:
        if isinstance(part, dict) and name not in part:
            parts = [k for k, v in part.items() if isinstance(v, (dict, list))]
            if difflib.get_close_matches(name, parts, 1, _NEARLY_EQUAL):
                raise _unknown(name, parts, f'--cfg-options {option}')
            return
        if isinstance(part, dict):
            part = part[name]
        elif isinstance(part, list) and name.isdigit():
            part = part[int(name)] if int(name) < len(part) else None


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
        if re.fullmatch(r'default_hooks\.[^.]+', place) and 'type' not in part:
            raise _unknown(
                place.split('.')[1], _DEFAULT_HOOKS, 'default_hooks'
            )
        known = _known_keys(place, part, cfg)
        if known is None:
            continue
        for key in part:
            if key not in known and key not in ('type', '_scope_'):
                raise _unknown(key, known, place)


def _known_keys(place: str, part: dict, cfg: Config) -> Sequence[str] | None:
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
    return _class_arguments(part)


def _is_ours_to_check(place: str, cfg: Config) -> bool:
    """Return whether the host's recognizers read a dictionary."""
    kind = str(cfg.get('model', {}).get('type', ''))
    return not place.startswith('model.') or 'Recognizer' in kind


def suggest(key: str, kind: Any) -> str:
    """Return a sentence with the argument of a class that a key resembles.

    Args:
        key (str): The key.
        kind (type | Callable, optional): The class, or a function.

    Returns:
        str: Such as ``' Did you mean num_classes?'``; '' if none is similar.
    """
    if inspect.isclass(kind):
        return _suggest(key, _init_arguments(kind))
    return _suggest(key, _arguments(kind) if inspect.isfunction(kind) else [])


def _class_arguments(part: dict) -> Sequence[str] | None:
    """Return the arguments of a class that would not refuse others at once.

    These are classes of ata_mm, checkpoint hooks, and data transforms of
    MMAction2 with ``**kwargs``, which only storage other than disks reads.
    """
    name = part.get('type')
    kind = _find_class(name) if isinstance(name, str) else name
    if not inspect.isclass(kind):
        return None
    ours = kind.__module__.split('.')[0] == 'ata_mm'
    transform = (
        kind.__module__.startswith('mmaction.datasets.transforms')
        and not kind.__module__.endswith('.wrappers')  # they pass them on
        and _takes_any(kind.__init__)
        and part.get('io_backend', 'disk') == 'disk'
    )
    hook = kind.__name__.endswith('CheckpointHook')
    if not (ours or transform or hook):
        return None
    # Others of a checkpoint hook go to a function that refuses them.
    names = _arguments(kind.__init__) if hook else _init_arguments(kind)
    return sorted({*names} - {'self'})


def _init_arguments(kind: type) -> list[str]:
    """Return the arguments of a class, and of bases that it passes them to."""
    names: list[str] = []
    for base in kind.__mro__:
        init = vars(base).get('__init__')
        if inspect.isfunction(init):
            names += _arguments(init)
            if not _takes_any(init):
                break
    return names


@cache
def _takes_any(function: Any) -> bool:
    """Return whether a function has ``**kwargs``."""
    found = inspect.signature(function).parameters.values()
    return any(p.kind == p.VAR_KEYWORD for p in found)


def _find_class(name: str) -> type | None:
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


def _dictionaries(place: str, value: Any) -> Iterator[tuple[str, dict]]:
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
    return ValueError(
        f'Expected a known key in {place}, got {key!r}.{_suggest(key, known)} '
        f'Known are: {", ".join(known)}.'
    )


def _suggest(key: str, known: Sequence[str]) -> str:
    others = [name for name in known if name not in (key, 'self')]
    similar = difflib.get_close_matches(str(key), others, 1)
    return f' Did you mean {similar[0]}?' if similar else ''
