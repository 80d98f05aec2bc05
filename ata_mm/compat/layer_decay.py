# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Layer-wise learning rate decay for ``ATATimeSformer``.

``LearningRateDecayOptimizerConstructor`` knows MViT and VisionTransformer by
the name of the class, and raises a NotImplementedError without a message for
all others. ``ATATimeSformer`` has the parameter names of a ViT, and its time
embedding belongs to the layer of the position embedding.

Upstream: no known report; the code is in
https://github.com/open-mmlab/mmaction2/blob/v1.2.0/mmaction/engine/optimizers/layer_decay_optim_wrapper_constructor.py
"""

from functools import wraps
from types import SimpleNamespace
from typing import Any, Callable, Iterator, List, Tuple

from torch import nn

_STOCK = ('MViT', 'VisionTransformer')


class _AsVisionTransformer:
    """Stand-in whose class name selects the layers of a ViT."""


def _with_timesformer(stock: Callable) -> Callable:
    """Extend the stock method by ATATimeSformer."""

    @wraps(stock)
    def add_params(
        self: Any, params: List[dict], module: nn.Module, **kwargs: Any
    ) -> None:
        backbone = module.get_submodule('backbone')
        kind = type(backbone).__name__
        if any(name in kind for name in _STOCK):
            return stock(self, params, module, **kwargs)
        _check(self.paramwise_cfg, backbone)
        view = SimpleNamespace(
            modules=module.modules,
            named_parameters=lambda: _named_like_vit(module),
            backbone=_AsVisionTransformer(),
        )
        return stock(self, params, view, **kwargs)

    return add_params


def _named_like_vit(module: nn.Module) -> Iterator[Tuple[str, nn.Parameter]]:
    for name, parameter in module.named_parameters():
        yield (
            name.replace('backbone.time_embed', 'backbone.pos_embed'),
            (parameter),
        )


def _check(paramwise_cfg: dict, backbone: nn.Module) -> None:
    """Raise if the layers of a backbone are unknown or not as many as set.

    Raises:
        ValueError: In both cases. With fewer layers than the model has, the
            stock constructor raises the learning rate of the last ones.
    """
    kind = type(backbone).__name__
    if not any(c.__name__ == 'ATATimeSformer' for c in type(backbone).mro()):
        raise ValueError(
            'Expected ATATimeSformer, MViT or VisionTransformer for layer-wise'
            f' learning rate decay, got {kind}. Remove constructor from '
            'optim_wrapper, and set learning rates with paramwise_cfg='
            "dict(custom_keys={'backbone.…': dict(lr_mult=…)})."
        )
    layers = len(list(backbone.get_submodule('blocks').children()))
    if paramwise_cfg.get('num_layers') != layers:
        raise ValueError(
            f'Expected num_layers={layers} for the layer-wise learning rate '
            f'decay of this {kind}, got {paramwise_cfg.get("num_layers")}. '
            'Set it in optim_wrapper.paramwise_cfg.'
        )


def needed() -> bool:
    """Return whether the constructor is unmodified."""
    # Imported late: mmaction.engine needs other shims first.
    from mmaction.engine.optimizers import (
        LearningRateDecayOptimizerConstructor as Constructor,
    )

    return not hasattr(Constructor.add_params, '__wrapped__')


def apply() -> None:
    """Extend the constructor to ATATimeSformer."""
    from mmaction.engine.optimizers import (
        LearningRateDecayOptimizerConstructor as Constructor,
    )

    if needed():
        Constructor.add_params = _with_timesformer(Constructor.add_params)
