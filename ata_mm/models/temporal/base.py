# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Base class of temporal modules, how they are built and share alignments."""
from typing import Optional, Union

import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from ata_mm.ops import Alignment
from ata_mm.ops.types import Grid


class TemporalModule(BaseModule):
    """Exchange information between the frames of a clip.

    A module of your own derives from this class, is registered in
    ``mmaction.registry.MODELS``, and takes ``embed_dims, num_heads,
    num_frames, drop_path_rate`` besides the options in its config. Everything
    below has a default; it usually overrides `forward`.

    Attributes:
        mixes_frames (bool): Whether frames see each other. Backbones do not
            call a module that leaves them apart. Defaults to True.
        share_alignment (int | str): Number of consecutive blocks that use the
            alignment of the first of them, or 'stage', all blocks of the same
            grid. Defaults to 1.

    Args:
        init_cfg (dict, optional): As in mmengine. Defaults to None.
    """

    mixes_frames: bool = True
    share_alignment: Union[int, str] = 1

    def alignment(self,
                  x: Tensor,
                  position: Optional[Tensor] = None,
                  grid: Optional[Grid] = None) -> Optional[Alignment]:
        """Return the alignment that `forward` uses for the same arguments.

        Backbones call this outside of activation checkpointing and pass the
        result to `forward`.

        Returns:
            Alignment | None: None, the default, if the module does not align.
        """
        return None

    def alignment_key(self) -> object:
        """Return what identifies the computation of `alignment`.

        Modules with equal keys return equal alignments for the same input and
        may share one. Defaults to the class; include the options if the
        alignment depends on them.
        """
        return type(self)

    def forward(self,
                x: Tensor,
                position: Optional[Tensor] = None,
                grid: Optional[Grid] = None,
                alignment: Optional[Alignment] = None) -> Tensor:
        """Mix the frames of clips; by default return x unchanged.

        Args:
            x (Tensor): Patch features (B, T, N, C), without class token.
            position (Tensor, optional): Position and time embedding contained
                in x, broadcastable to x. Defaults to None.
            grid (tuple[int, int], optional): Height and width of the patch
                grid. Defaults to None.
            alignment (Alignment, optional): The alignment to use. Defaults to
                None, that of `alignment`.

        Returns:
            Tensor: (B, T, N, C).
        """
        return x


class AlignmentSharing:
    """Compute the alignment of each temporal module, or reuse the last one.

    A backbone calls this once for each module, in order and outside of
    activation checkpointing, and passes the result to the module. A matching
    is then solved once a forward pass, whatever is recomputed later, and
    serves as many modules as ``share_alignment`` of :class:`TemporalModule`
    says.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the last alignment, at the start of a forward pass."""
        self._alignment: Optional[Alignment] = None
        self._problem: Optional[tuple] = None
        self._uses = 0

    def __call__(self,
                 module: TemporalModule,
                 x: Tensor,
                 position: Optional[Tensor] = None,
                 grid: Optional[Grid] = None) -> Optional[Alignment]:
        """Return the alignment for a temporal module.

        Args:
            module (TemporalModule): The temporal module.
            x (Tensor): Its input (B, T, N, C).
            position (Tensor, optional): As in its `forward`. Defaults to None.
            grid (tuple[int, int], optional): Likewise. Defaults to None.

        Returns:
            Alignment | None: None for a module that does not align.

        Raises:
            ValueError: If a shared alignment is requested in a backward pass,
                that is by a recomputation.
        """
        share = module.share_alignment
        # Blocks are recomputed from last to first: the first one that shares
        # is not known then, and routes would differ from the forward pass.
        if share != 1 and torch._C._current_graph_task_id() != -1:
            raise ValueError(
                'Expected share_alignment=1 where the image model recomputes '
                f'its blocks in the backward pass, got {share!r}. Or use '
                'with_cp=True of the backbone, and not the activation '
                'checkpointing of the image model.')
        problem = (*x.shape[:3], grid, share, module.alignment_key())
        if problem == self._problem and self._uses != share:
            self._uses += 1
            return self._alignment
        alignment = module.alignment(x, position, grid)
        if alignment is not None:
            self._alignment, self._problem, self._uses = alignment, problem, 1
        return alignment


def build_temporal(cfg: dict,
                   embed_dims: int,
                   num_heads: int,
                   num_frames: Optional[int] = None,
                   drop_path_rate: float = 0.) -> TemporalModule:
    """Build a temporal module, independently of mmengine's default scope.

    Args:
        cfg (dict): Its config, which overrides the other arguments.
        embed_dims (int): Channels C.
        num_heads (int): Number of heads.
        num_frames (int, optional): Frames a clip, T. Defaults to None.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.

    Raises:
        ValueError: If it is not a :class:`TemporalModule`.
    """
    given = dict(
        embed_dims=embed_dims,
        num_heads=num_heads,
        num_frames=num_frames,
        drop_path_rate=drop_path_rate)
    module = MODELS.build({'_scope_': 'mmaction', **cfg}, default_args=given)
    if not isinstance(module, TemporalModule):
        raise ValueError(
            'Expected the config of a temporal module that is a layer '
            f'(a TemporalModule), got {cfg}. Use TemporalAveraging, '
            'TemporalAttention or ATA here; JointAttention is a block of '
            'ATATimeSformer alone.')
    return module


def build_temporal_layer(cfg: dict,
                         embed_dims: int,
                         head_dims: int,
                         num_frames: Optional[int] = None,
                         drop_path_rate: float = 0.) -> TemporalModule:
    """Build a temporal module with heads of a given width.

    Args:
        cfg (dict): See :func:`build_temporal`.
        embed_dims (int): Channels C.
        head_dims (int): Channels of a head; there are C / head_dims heads,
            unless ``cfg`` has ``num_heads``.
        num_frames (int, optional): See :func:`build_temporal`. Defaults to
            None.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.

    Raises:
        ValueError: As :func:`build_temporal`, or if ``head_dims`` does not
            divide ``embed_dims``.
    """
    divides = head_dims > 0 and embed_dims % head_dims == 0
    num_heads = embed_dims // head_dims if divides else 1
    module = build_temporal(cfg, embed_dims, num_heads, num_frames,
                            drop_path_rate)
    if module.mixes_frames and not divides and 'num_heads' not in cfg:
        raise ValueError(
            'Expected head_dims to divide the channels of every block, got '
            f'head_dims={head_dims} and a block of {embed_dims} channels. Set '
            'head_dims to a common divisor of the channels.')
    return module
