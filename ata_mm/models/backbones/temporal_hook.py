# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What stands before a block of an image model and mixes frames."""
from typing import Callable, Tuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..layouts import Layout
from ..temporal import AlignmentSharing


class TemporalHook:
    """A forward pre-hook that sends a block's input through a temporal module
    first.

    Args:
        temporal (nn.ModuleList): All temporal modules. They are looked up in
            it at each call, in case one is replaced, as wrappers do.
        index (int): Which of them is for this block.
        layout (Layout): The layout of the block's input.
        num_frames (int): Frames a clip, T.
        with_cp (bool): Recompute the temporal module in the backward pass.
        sharing (AlignmentSharing): One for all hooks of a model.
    """

    def __init__(self, temporal: nn.ModuleList, index: int, layout: Layout,
                 num_frames: int, with_cp: bool,
                 sharing: AlignmentSharing) -> None:
        self.temporal = temporal
        self.index = index
        self.layout = layout
        self.num_frames = num_frames
        self.with_cp = with_cp
        self.sharing = sharing

    def __call__(self, block: nn.Module, args: tuple,
                 kwargs: dict) -> Tuple[tuple, dict]:
        return map_first_tensor(self.mix_frames, args, kwargs)

    def mix_frames(self, x: Tensor) -> Tensor:
        """Features of B*T frames, in the image model's layout, to the same
        after an exchange between the frames of each clip."""
        module = self.temporal[self.index]
        patches, grid = self.layout.split(x, self.num_frames)
        alignment = self.sharing(module, patches, None, grid)
        inputs = patches, None, grid, alignment
        if self.with_cp and module.training:
            patches = checkpoint(module, *inputs, use_reentrant=False)
        else:
            patches = module(*inputs)
        return self.layout.merge(patches, x)


def map_first_tensor(function: Callable[[Tensor], Tensor], args: tuple,
                     kwargs: dict) -> Tuple[tuple, dict]:
    """Apply a function to the first tensor among the arguments of a call,
    positional ones first."""
    for i, value in enumerate(args):
        if torch.is_tensor(value):
            return (*args[:i], function(value), *args[i + 1:]), kwargs
    for key, value in kwargs.items():
        if torch.is_tensor(value):
            return args, {**kwargs, key: function(value)}
    return args, kwargs
