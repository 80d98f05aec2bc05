# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Points of a model at which the patches of frames can be read."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from mmaction.models.recognizers.base import BaseRecognizer
from torch import Tensor, nn

from ata_mm.models import ATABackbone, ATATimeSformer, TemporalModule
from ata_mm.models.backbones.timesformer import DividedBlock, TimeSformerBlock
from ata_mm.models.layouts import Layout
from ata_mm.ops import Alignment
from ata_mm.ops.types import Grid
from ata_mm.ops.validation import check_grid

Patches = tuple[Tensor, Grid]
TimeMixer = TemporalModule | TimeSformerBlock


class Call(NamedTuple):
    """Forward call of a module, as its hooks see it.

    Args:
        args (tuple): Positional arguments.
        kwargs (dict): Keyword arguments.
        output (object): The return value; None before the module has run.
    """

    args: tuple
    kwargs: dict[str, Any]
    output: Any = None


class Arguments(NamedTuple):
    """Arguments of a temporal module, or of a TimeSformer block.

    Args:
        x (Tensor): Patch features (B, T, N, C), of a block (B, T, 1+N, C).
        position (Tensor, optional): The embedding contained in x. Defaults to
            None.
        grid (tuple[int, int], optional): Height and width of the patch grid.
            Defaults to None.
        alignment (Alignment, optional): The alignment to use. Defaults to
            None.
    """

    x: Tensor
    position: Tensor | None = None
    grid: Grid | None = None
    alignment: Alignment | None = None


class Tap(NamedTuple):
    """Tensor in a model that contains the patches of frames.

    A tap describes the tensor only; a :class:`~ata_mm.introspection.Listener`
    reads it.

    Args:
        name (str): Name of the temporal module, as in ``named_modules()``.
        kind (str): Class name of the temporal module.
        module (nn.Module): The module whose hooks see the tensor: the temporal
            module, or the block that is called instead.
        select (Callable): Maps the call of that module to the tensor.
        read (Callable): Maps the tensor, or its gradient, and the call to
            patches (B, T, N, C) and their grid.
        before (bool): Read before the module runs. Defaults to False.
    """

    name: str
    kind: str
    module: nn.Module
    select: Callable[[Call], Tensor]
    read: Callable[[Tensor, Call], Patches]
    before: bool = False


def temporal_modules(model: nn.Module) -> list[tuple[str, TimeMixer]]:
    """Return the names and temporal modules of a model, in its order.

    Blocks that mix frames themselves, such as `JointAttention`, count as
    temporal modules.

    Args:
        model (nn.Module): Any model.

    Returns:
        list[tuple[str, nn.Module]]: As of ``named_modules()``.
    """
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, (TemporalModule, TimeSformerBlock))
        and not isinstance(module, DividedBlock)
    ]


def temporal_taps(model: nn.Module) -> list[Tap]:
    """Return a tap on the output of each temporal module.

    `ATABackbone` does not call modules that leave the frames apart. Their tap
    is on the input of the image block, which equals their output.

    Args:
        model (nn.Module): A recognizer.

    Returns:
        list[Tap]: In the order of :func:`temporal_modules`.
    """
    skipped: dict[nn.Module, tuple[nn.Module, Callable]] = {}
    for module in model.modules():
        if isinstance(module, ATABackbone):
            skipped.update(_skipped_modules(module))
    return [
        _input_tap(name, module, *skipped[module])
        if module in skipped
        else _output_tap(name, module)
        for name, module in temporal_modules(model)
    ]


def before_tap(tap: Tap) -> Tap:
    """Return the tap on the input of a temporal module.

    Args:
        tap (Tap): The tap of `temporal_taps` on its output.
    """
    return tap._replace(select=_first_tensor, before=True)


def final_tap(model: BaseRecognizer) -> Tap:
    """Return the tap on the last patches, which the classification head pools.

    These are the feature map that the head gets. If a backbone returns one
    vector instead, they are the patches after its last block, before the norm:
    a norm removes the mean over the channels, which figures show as response.

    Args:
        model (BaseRecognizer): A recognizer.

    Returns:
        Tap: Reading it raises a ValueError if the model has no such patches.
    """
    blocks = [m for m in model.modules() if isinstance(m, TimeSformerBlock)]
    if blocks:
        return _output_tap('final', blocks[-1])
    last = model.neck if model.with_neck else model.backbone
    kind = type(last).__name__
    if isinstance(last, ATABackbone) and (
        last.output_layout.kind == 'NC' or last.output == 'cls_token'
    ):
        block = last.image.get_submodule(last.block_names[-1])
        reader = _layout_reader(last, last.layouts[-1])
        return Tap('final', kind, block, _output, reader)
    return Tap('final', kind, last, _last_map, _read_maps)


def embedding_tap(backbone: ATATimeSformer) -> Tap:
    """Return the tap on the patch embeddings, without position and time.

    Args:
        backbone (ATATimeSformer): The backbone of a recognizer.
    """
    first = before_tap(temporal_taps(backbone)[0])

    def read(x: Tensor, call: Call) -> Patches:
        patches, grid = first.read(x, call)
        position = Arguments(*call.args, **call.kwargs).position
        return (patches if position is None else patches - position), grid

    kind = type(backbone.patch_embed).__name__
    return first._replace(name='embedding', kind=kind, read=read)


def _output_tap(name: str, module: TimeMixer) -> Tap:
    is_block = isinstance(module, TimeSformerBlock)
    reader = _read_tokens if is_block else _read_patches
    return Tap(name, type(module).__name__, module, _output, reader)


def _input_tap(
    name: str, module: TimeMixer, block: nn.Module, reader: Callable
) -> Tap:
    return Tap(name, type(module).__name__, block, _first_tensor, reader, True)


def _skipped_modules(
    backbone: ATABackbone,
) -> dict[nn.Module, tuple[nn.Module, Callable]]:
    """Return the image block and its reader for each module not called."""
    triples = zip(backbone.temporal, backbone.block_names, backbone.layouts)
    return {
        temporal: (
            backbone.image.get_submodule(name),
            _layout_reader(backbone, layout),
        )
        for temporal, name, layout in triples
        if not temporal.mixes_frames
    }


def _output(call: Call) -> Tensor:
    return call.output


def _first_tensor(call: Call) -> Tensor:
    values = (*call.args, *call.kwargs.values())
    return next(value for value in values if torch.is_tensor(value))


def _last_map(call: Call) -> Tensor:
    """Return the map of the last stage, without the losses of a neck."""
    output = call.output
    while isinstance(output, (tuple, list)):
        output = [one for one in output if not isinstance(one, dict)][-1]
    return output


def _read_patches(x: Tensor, call: Call) -> Patches:
    grid = Arguments(*call.args, **call.kwargs).grid
    return x, check_grid(grid, x.shape[2], 'a listener to patches')


def _read_tokens(x: Tensor, call: Call) -> Patches:
    return _read_patches(x[:, :, 1:], call)


def _read_maps(x: Tensor, call: Call) -> Patches:
    if x.ndim == 4:  # the T images of one clip, (T, C, H, W)
        x = x.transpose(0, 1)[None]
    if x.ndim != 5:
        raise ValueError(
            'Expected a backbone that returns feature maps, got '
            f'an output of shape {tuple(x.shape)}.'
        )
    height, width = x.shape[3:]
    return x.flatten(3).permute(0, 2, 3, 1), (height, width)


def _layout_reader(
    backbone: ATABackbone, layout: Layout
) -> Callable[[Tensor, Call], Patches]:
    return lambda x, call: layout.split(x, backbone.num_frames)
