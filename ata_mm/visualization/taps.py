# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Where in a model the patches of frames can be seen, whatever its layout."""
from typing import Callable, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ata_mm.models import ATABackbone
from ata_mm.models.backbones.divided_block import DividedBlock

Grid = Tuple[int, int]
Patches = Tuple[Tensor, Grid]


class Tap(NamedTuple):
    """Patches that pass through a model.

    Args:
        name (str): The module that gives them, as in ``named_modules()``.
        kind (str): Its type.
        module (nn.Module): What is listened to: that module, or the block
            that does without calling it.
        read (Callable): From what the module was called with, args and kwargs,
            and its output, to patches (B, T, N, C) and their grid.
        before (bool): Listen before the module runs. Defaults to False.
    """
    name: str
    kind: str
    module: nn.Module
    read: Callable[[tuple, dict, object], Patches]
    before: bool = False

    def listen(self, listener: Callable[[Tensor, Grid],
                                        None]) -> RemovableHandle:
        """Call ``listener(patches, grid)`` in each forward pass."""

        def hook(_: nn.Module,
                 args: tuple,
                 kwargs: dict,
                 output: object = None) -> None:
            listener(*self.read(args, kwargs, output))

        if self.before:
            return self.module.register_forward_pre_hook(
                hook, with_kwargs=True)
        return self.module.register_forward_hook(hook, with_kwargs=True)


def temporal_taps(model: nn.Module) -> List[Tap]:
    """Find the patches after the temporal modelling of each block.

    Args:
        model (nn.Module): A recognizer.

    Returns:
        list[Tap]: One for each temporal module, in their order in the model.
    """
    uncalled = {}
    for module in model.modules():
        if isinstance(module, DividedBlock):
            if getattr(module.temporal, 'joins_frames', False):
                uncalled[module.temporal] = module, _after_block
        elif isinstance(module, ATABackbone):
            uncalled.update(_without_hook(module))
    return [
        Tap(name,
            type(module).__name__,
            *uncalled.get(module, (module, _after_temporal)))
        for name, module in model.named_modules()
        if hasattr(module, 'mixes_frames')
    ]


def final_tap(model: nn.Module) -> Tap:
    """Find the last patches: what the classification head pools.

    They are the feature map that the head gets. Of a backbone that hands one
    vector on, they are the patches after its last block, before the norm,
    which would take the mean of their channels away.

    Args:
        model (nn.Module): A recognizer.

    Returns:
        Tap: It raises a ValueError in a forward pass without such patches.
    """
    blocks = [m for m in model.modules() if isinstance(m, DividedBlock)]
    if blocks:
        return Tap('final', 'DividedBlock', blocks[-1], _after_block)
    last = model.neck if model.with_neck else model.backbone
    if isinstance(last, ATABackbone) and (last.output_layout.kind == 'NC'
                                          or last.output == 'cls_token'):
        block = last.image.get_submodule(last.block_names[-1])
        return Tap(
            'final',
            type(last).__name__, block,
            lambda args, kwargs, output: last.layouts[-1].split(
                output, last.num_frames))
    return Tap('final', type(last).__name__, last, _after_backbone)


def _after_temporal(args: tuple, kwargs: dict, output: Tensor) -> Patches:
    return output, args[2]


def _after_block(args: tuple, kwargs: dict, output: Tensor) -> Patches:
    return output[:, :, 1:], args[2]


def _after_backbone(args: tuple, kwargs: dict, output: object) -> Patches:
    """Maps (B, C, T, H, W), of images (T, C, H, W); of several the last, and
    before the losses that a neck returns."""
    while isinstance(output, (tuple, list)):
        maps = [o for o in output if not isinstance(o, dict)]
        output = maps[-1]
    if output.ndim == 4:
        output = output.transpose(0, 1)[None]
    if output.ndim != 5:
        raise ValueError('Expected a backbone that returns feature maps, got '
                         f'an output of shape {tuple(output.shape)}.')
    patches = output.flatten(3).permute(0, 2, 3, 1)  # (B, T, N, C)
    return patches, tuple(output.shape[3:])


def _without_hook(backbone: ATABackbone) -> dict:
    """Temporal modules that are not called, and how to listen to the blocks
    behind them."""

    def reader(layout) -> Callable:
        return lambda args, kwargs, _: layout.split(
            _first_tensor(args, kwargs), backbone.num_frames)

    return {
        temporal: (backbone.image.get_submodule(name), reader(layout), True)
        for temporal, name, layout in zip(
            backbone.temporal, backbone.block_names, backbone.layouts)
        if not temporal.mixes_frames
    }


def _first_tensor(args: tuple, kwargs: dict) -> Optional[Tensor]:
    values = (*args, *kwargs.values())
    return next((v for v in values if torch.is_tensor(v)), None)
