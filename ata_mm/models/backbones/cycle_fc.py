# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""CycleFC, the layer by which CycleMLP sees neighbouring places.

Paper: https://arxiv.org/abs/2107.10224. In the official code,
https://github.com/ShoufaChen/CycleMLP, the shift of the channels is a
deformable convolution; here it is a copy.
"""
from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _CycleShift(torch.autograd.Function):
    """See :func:`cycle_shift`; the gradient is shifted back."""

    @staticmethod
    def forward(ctx, x: Tensor, dim: int, step: int) -> Tensor:
        ctx.dim, ctx.step = dim, step
        last = x.shape[dim] - 1
        out = x.clone()
        # The first channel to look ahead, and the first to look behind.
        ahead, behind = (1, 2) if step == 1 else (2, 1)
        for first, to, start in ((ahead, 0, 1), (behind, 1, 0)):
            source, target = x[..., first::3], out[..., first::3]
            target.narrow(dim, to, last).copy_(source.narrow(dim, start, last))
            target.select(dim, last * start).zero_()
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tuple[Tensor, None, None]:
        return _CycleShift.apply(grad, ctx.dim, -ctx.step), None, None


def cycle_shift(x: Tensor, dim: int) -> Tensor:
    """Let channel c see its neighbour at offset (0, 1, -1)[c % 3].

    ``out[..., i, ..., c] = x[..., i + offset, ..., c]``, and 0 where that is
    outside.

    Args:
        x (Tensor): Features (B, H, W, C).
        dim (int): The axis to look along: 1 for H, 2 for W.

    Returns:
        Tensor: (B, H, W, C), to the bit the numbers of x.
    """
    return _CycleShift.apply(x, dim, 1)


class CycleFC(nn.Conv2d):
    """A 1x1 convolution over channels that are each shifted along one axis.

    Args:
        channels (int): Channels C, in and out.
        dim (int): The axis of (B, H, W, C) to look along, 1 or 2.
    """

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__(channels, channels, 1)
        self.dim = dim
        # Checkpoints have the offsets; with them our keys are the official.
        self.register_buffer('offset', self.offsets())

    def offsets(self) -> Tensor:
        """Row and column offset of each channel in turn: (1, 2C, 1, 1)."""
        offsets = torch.zeros(self.in_channels, 2)
        offsets[1::3, self.dim - 1] = 1
        offsets[2::3, self.dim - 1] = -1
        return offsets.view(1, -1, 1, 1)

    def check_offset(self, state_dict: dict, prefix: str) -> None:
        """Refuse other offsets than ours, which would go unheeded.

        Args:
            state_dict (dict): What is about to be loaded; not changed.
            prefix (str): What the keys of this layer have in front.

        Raises:
            ValueError: If it has other offsets for this layer.
        """
        expected = self.offsets()
        offset = state_dict.get(f'{prefix}offset', expected)
        if offset.shape == expected.shape and not torch.equal(
                offset.to(expected), expected):
            raise ValueError(
                f'Expected {prefix}offset to cycle through 0, 1, -1 along the '
                'axis of this layer, as in every published CycleMLP, got '
                f'(row, column) {offset.view(-1, 2)[:3].tolist()}, ... .')

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args,
                              **kwargs) -> None:
        """Do without offsets where a checkpoint has none."""
        self.check_offset(state_dict, prefix)
        state_dict.setdefault(f'{prefix}offset', self.offsets())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        shifted = cycle_shift(x, self.dim)
        return F.linear(shifted, self.weight.flatten(1), self.bias)
