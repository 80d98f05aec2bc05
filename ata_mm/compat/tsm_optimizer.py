# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Let ``TSMOptimWrapperConstructor`` train any layer.

The optimizer constructor of MMAction2's TSM, TIN and TRN recipes knows
convolutions, linear layers and batch norm. It refuses layers of other types,
such as LayerNorm, and leaves out parameters that do not belong to a layer,
such as position embeddings. Here the others are trained by its own rules:
norms without weight decay, biases also with the double learning rate.

Upstream: no known report; the code is in
https://github.com/open-mmlab/mmaction2/blob/v1.2.0/mmaction/engine/optimizers/tsm_optim_wrapper_constructor.py
"""

from collections.abc import Callable, Iterator
from functools import wraps
from types import SimpleNamespace
from typing import Any

from mmengine.utils.dl_utils.parrots_wrapper import (
    SyncBatchNorm_,
    _BatchNorm,
    _ConvNd,
)
from torch import nn

_KNOWN = (_ConvNd, nn.Linear, _BatchNorm, SyncBatchNorm_, nn.GroupNorm)


def _with_other_layers(stock: Callable) -> Callable:
    """Extend the stock method by the layers that it does not know."""

    @wraps(stock)
    def add_params(
        self: Any, params: list[dict], model: nn.Module, **kwargs: Any
    ) -> None:
        # Parameters only: the stock method takes them by their order.
        known = [m for m in model.modules() if isinstance(m, _KNOWN)]
        view = SimpleNamespace(modules=lambda: iter(known))
        stock(self, params, view, **kwargs)
        held = {id(p) for m in known for p in m.parameters()}
        for module, name, parameter in _own_parameters(model):
            if parameter.requires_grad and id(parameter) not in held:
                held.add(id(parameter))
                params.append(_group(self, module, name, parameter))

    return add_params


def _own_parameters(
    model: nn.Module,
) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            yield module, name, parameter


def _group(
    constructor: Any, module: nn.Module, name: str, parameter: nn.Parameter
) -> dict:
    """Return the group of a parameter of another layer."""
    is_norm = 'Norm' in type(module).__name__
    is_bias = name.endswith('bias') and not is_norm
    decays = parameter.ndim > 1 and not is_norm and not is_bias
    return dict(
        params=[parameter],
        lr=constructor.base_lr * (2 if is_bias else 1),
        weight_decay=constructor.base_wd if decays else 0,
    )


def needed() -> bool:
    """Return whether the constructor is unmodified."""
    # Imported late: mmaction.engine needs other shims first.
    from mmaction.engine.optimizers import TSMOptimWrapperConstructor

    return not hasattr(TSMOptimWrapperConstructor.add_params, '__wrapped__')


def apply() -> None:
    """Extend the constructor to all layers."""
    from mmaction.engine.optimizers import TSMOptimWrapperConstructor

    if needed():
        TSMOptimWrapperConstructor.add_params = _with_other_layers(
            TSMOptimWrapperConstructor.add_params
        )
