# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Where in a model the patches of frames can be seen, whatever its layout."""
from typing import Callable, List, NamedTuple, Tuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ata_mm.models import ATABackbone
from ata_mm.models.backbones.timesformer.timesformer import DividedBlock
from ata_mm.models.layouts import Layout

Grid = Tuple[int, int]
Patches = Tuple[Tensor, Grid]
Read = Callable[[Tensor], Patches]


class Tap(NamedTuple):
    """A tensor with the patches of frames, as it passes through a model.

    Args:
        name (str): The module that gives it, as in ``named_modules()``.
        kind (str): Its type.
        module (nn.Module): What is listened to: that module, or the block
            that does without calling it.
        pick (Callable): From the args and kwargs that module was called with,
            and its output, to the tensor.
        read (Callable): From the tensor, or its gradient, and those args to
            patches (B, T, N, C) and their grid.
        before (bool): Listen before the module runs. Defaults to False.
    """
    name: str
    kind: str
    module: nn.Module
    pick: Callable[[tuple, dict, object], Tensor]
    read: Callable[[Tensor, tuple], Patches]
    before: bool = False

    def listen(self, listener: Callable[[Tensor, Read],
                                        None]) -> RemovableHandle:
        """Call ``listener(tensor, read)`` in each forward pass."""

        def hook(_: nn.Module,
                 args: tuple,
                 kwargs: dict,
                 output: object = None) -> None:
            listener(
                self.pick(args, kwargs, output), lambda x: self.read(x, args))

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
                uncalled[module.temporal] = module, _output, _without_class
        elif isinstance(module, ATABackbone):
            uncalled.update(_without_hook(module))
    return [
        Tap(name,
            type(module).__name__,
            *uncalled.get(module, (module, _output, _as_it_is)))
        for name, module in model.named_modules()
        if hasattr(module, 'mixes_frames')
    ]


def before_tap(tap: Tap) -> Tap:
    """The patches that go into what a tap of `temporal_taps` listens to."""
    return tap._replace(pick=_first_tensor, before=True)


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
        return Tap('final', 'DividedBlock', blocks[-1], _output,
                   _without_class)
    last = model.neck if model.with_neck else model.backbone
    if isinstance(last, ATABackbone) and (last.output_layout.kind == 'NC'
                                          or last.output == 'cls_token'):
        block = last.image.get_submodule(last.block_names[-1])
        return Tap('final',
                   type(last).__name__, block, _output,
                   _reader(last, last.layouts[-1]))
    return Tap('final', type(last).__name__, last, _last_map, _of_maps)


def _output(args: tuple, kwargs: dict, output: Tensor) -> Tensor:
    return output


def _first_tensor(args: tuple, kwargs: dict, output: None) -> Tensor:
    return next(v for v in (*args, *kwargs.values()) if torch.is_tensor(v))


def _last_map(args: tuple, kwargs: dict, output: object) -> Tensor:
    """Of several stages the last, and no losses of a neck."""
    while isinstance(output, (tuple, list)):
        output = [one for one in output if not isinstance(one, dict)][-1]
    return output


def _as_it_is(x: Tensor, args: tuple) -> Patches:
    return x, args[2]


def _without_class(x: Tensor, args: tuple) -> Patches:
    return x[:, :, 1:], args[2]


def _of_maps(x: Tensor, args: tuple) -> Patches:
    """Maps (B, C, T, H, W), or of the T images of one clip (T, C, H, W)."""
    if x.ndim == 4:
        x = x.transpose(0, 1)[None]
    if x.ndim != 5:
        raise ValueError('Expected a backbone that returns feature maps, got '
                         f'an output of shape {tuple(x.shape)}.')
    return x.flatten(3).permute(0, 2, 3, 1), tuple(x.shape[3:])


def _reader(backbone: ATABackbone, layout: Layout) -> Callable:
    return lambda x, args: layout.split(x, backbone.num_frames)


def _without_hook(backbone: ATABackbone) -> dict:
    """Temporal modules that are not called, and how to listen to the blocks
    behind them."""
    return {
        temporal: (backbone.image.get_submodule(name), _first_tensor,
                   _reader(backbone, layout), True)
        for temporal, name, layout in zip(
            backbone.temporal, backbone.block_names, backbone.layouts)
        if not temporal.mixes_frames
    }
