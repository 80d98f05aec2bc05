# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Layer-wise learning rate decay for the backbones of ata_mm.

``LearningRateDecayOptimizerConstructor`` knows MViT and VisionTransformer by
the name of the class, and raises a NotImplementedError without a message for
all others. Here parameters of ours are passed to it under the names that
those of the same layer have in a ViT: a layer is a block with the temporal
module before it and what is called between it and the block before, such as a
downsampling convolution; layer 0 is what precedes the first block, and what
follows the last one learns at the rate of the head.

Upstream: no known report; the code is in
https://github.com/open-mmlab/mmaction2/blob/v1.2.0/mmaction/engine/optimizers/layer_decay_optim_wrapper_constructor.py
"""

from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

_STOCK = ('MViT', 'VisionTransformer')


class _AsVisionTransformer:
    """Stand-in whose class name selects the layers of a ViT."""


def _with_our_backbones(stock: Callable) -> Callable:
    """Extend the stock method by ATATimeSformer and ATABackbone."""

    @wraps(stock)
    def add_params(
        self: Any, params: list[dict], module: nn.Module, **kwargs: Any
    ) -> None:
        backbone = module.get_submodule('backbone')
        kind = type(backbone).__name__
        if any(name in kind for name in _STOCK):
            return stock(self, params, module, **kwargs)
        _check(self.paramwise_cfg, module, backbone)
        named = [
            (_name_in_vit(backbone, name), parameter)
            for name, parameter in module.named_parameters()
        ]
        view = SimpleNamespace(
            modules=module.modules,
            named_parameters=lambda: iter(named),
            backbone=_AsVisionTransformer(),
        )
        return stock(self, params, view, **kwargs)

    return add_params


def _name_in_vit(backbone: Any, name: str) -> str:
    """Return a name that the layers of a ViT give the same layer."""
    if not name.startswith('backbone.'):
        return name
    if not _is_a(backbone, 'ATABackbone'):
        return name.replace('backbone.time_embed', 'backbone.pos_embed')
    part, rest = name.split('.', 2)[1:]
    if part == 'temporal':
        return f'backbone.blocks.{rest}'
    for number, block in enumerate(backbone.block_names):
        if rest.startswith(f'{block}.'):
            return f'backbone.blocks.{number}.{rest}'
    number = _blocks_before(backbone, rest)
    if number == 0:
        return f'backbone.patch_embed.{rest}'
    if number == len(backbone.block_names):
        return f'backbone.norm.{rest}'
    return f'backbone.blocks.{number}.{rest}'


def _blocks_before(backbone: Any, name: str) -> int:
    """Count the blocks called before the module of a parameter is.

    Parameters of the model itself, such as position embeddings, come first.
    """
    while name:
        name = name.rpartition('.')[0]
        if name in backbone.call_order:
            before = backbone.call_order[: backbone.call_order.index(name)]
            return sum(block in before for block in backbone.block_names)
    return 0


def _check(paramwise_cfg: dict, model: nn.Module, backbone: Any) -> None:
    """Raise if the layers of a model are unknown or not as many as set.

    Raises:
        ValueError: In both cases. With fewer layers than the model has, the
            stock constructor raises the learning rate of the last ones.
    """
    kind = type(backbone).__name__
    instead = (
        'Remove constructor from optim_wrapper, and set learning rates with '
        "paramwise_cfg=dict(custom_keys={'backbone.…': dict(lr_mult=…)})."
    )
    if not _is_a(backbone, 'ATATimeSformer', 'ATABackbone'):
        raise ValueError(
            'Expected a backbone of ata_mm, MViT or VisionTransformer for '
            f'layer-wise learning rate decay, got {kind}. {instead}'
        )
    if any(isinstance(module, _NormBase) for module in model.modules()):
        raise ValueError(
            'Expected a model without batch norm, which the layer-wise '
            'learning rate decay of MMAction2 does not support, got '
            f'{kind} with it. {instead}'
        )
    if _is_a(backbone, 'ATABackbone'):
        layers = len(backbone.block_names)
    else:
        layers = len(backbone.blocks)
    if paramwise_cfg.get('num_layers') != layers:
        raise ValueError(
            f'Expected num_layers={layers} for the layer-wise learning rate '
            f'decay of this {kind}, got {paramwise_cfg.get("num_layers")}. '
            'Set it in optim_wrapper.paramwise_cfg.'
        )


def _is_a(module: nn.Module, *names: str) -> bool:
    """Return whether a class or base of a module has one of these names."""
    return any(base.__name__ in names for base in type(module).mro())


def needed() -> bool:
    """Return whether the constructor is unmodified."""
    # Imported late: mmaction.engine needs other shims first.
    from mmaction.engine.optimizers import (
        LearningRateDecayOptimizerConstructor as Constructor,
    )

    return not hasattr(Constructor.add_params, '__wrapped__')


def apply() -> None:
    """Extend the constructor to the backbones of ata_mm."""
    from mmaction.engine.optimizers import (
        LearningRateDecayOptimizerConstructor as Constructor,
    )

    if needed():
        Constructor.add_params = _with_our_backbones(Constructor.add_params)
