# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Temporal modules: base class, builders, and sharing of alignments."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.model import BaseModule
from torch import Tensor
from torch.compiler import is_compiling

from ata_mm.ops import Alignment
from ata_mm.ops.types import Grid
from ata_mm.ops.validation import is_count


class TemporalModule(BaseModule):
    """Base class of modules that mix the frames of clips.

    A custom module derives from this class and is registered in
    ``mmaction.registry.MODELS``. Backbones build it with the arguments below
    and the options in its config. Everything has a default, which leaves the
    features unchanged; a module usually overrides `forward`, and `alignment`
    if it follows routes.

    Args:
        embed_dims (int, optional): Channels C. This class does not use the
            arguments, but accepts them from the backbone. Defaults to None.
        num_heads (int, optional): Number of heads. Defaults to None.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.
        num_frames (int, optional): Frames per clip, T. Defaults to None.
        init_cfg (dict, optional): As in mmengine. Defaults to None.

    Attributes:
        mixes_frames (bool): Whether frames see each other; a backbone may skip
            a module in which they do not. Defaults to True.
        share_alignment (int | str): Number of consecutive blocks that use the
            alignment of the first of them, or 'stage', all blocks of the same
            grid. Defaults to 1.
        dealign (bool): Whether `forward` restores the order of the patches;
            see :class:`ATA`. Defaults to True.

    Example:
        >>> @MODELS.register_module()
        ... class FrameDifference(TemporalModule):
        ...     def forward(self, x, position=None, grid=None, alignment=None):
        ...         return x - x.roll(1, dims=1)
    """

    mixes_frames: bool = True
    share_alignment: int | str = 1
    dealign: bool = True

    def __init__(
        self,
        embed_dims: int | None = None,
        num_heads: int | None = None,
        drop_path_rate: float = 0.0,
        num_frames: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)

    def alignment(
        self,
        x: Tensor,
        position: Tensor | None = None,
        grid: Grid | None = None,
    ) -> Alignment | None:
        """Return the alignment that `forward` uses for the same arguments.

        Backbones call this outside of activation checkpointing and pass the
        result to `forward`.

        Args:
            x (Tensor): Patch features (B, T, N, C).
            position (Tensor, optional): As in `forward`. Defaults to None.
            grid (tuple[int, int], optional): As in `forward`. Defaults to
                None.

        Returns:
            Alignment | None: None, the default, if the module does not align.
        """
        return None

    def alignment_key(self) -> object:
        """Return the key by which modules share alignments.

        Modules with equal keys return equal alignments for the same input.
        Defaults to the class; include the options if `alignment` depends on
        them.
        """
        return type(self)

    def matched_features(
        self, x: Tensor, position: Tensor | None = None
    ) -> Tensor:
        """Return the features compared by the matching; by default x.

        Args:
            x (Tensor): Patch features (B, T, N, C).
            position (Tensor, optional): As in `forward`. Defaults to None.

        Returns:
            Tensor: (B, T, N, C).
        """
        return x

    def forward(
        self,
        x: Tensor,
        position: Tensor | None = None,
        grid: Grid | None = None,
        alignment: Alignment | None = None,
    ) -> Tensor:
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
    """Alignments of the temporal modules in one forward pass.

    A backbone makes one for each forward pass, calls it once for each module,
    in order and outside of activation checkpointing, and passes the result to
    the module. Each matching is then solved once per forward pass, also if
    blocks are recomputed, and used by as many modules as ``share_alignment``
    of :class:`TemporalModule` allows.
    """

    def __init__(self) -> None:
        self._alignment: Alignment | None = None
        self._problem: tuple | None = None
        self._uses = 0

    def __call__(
        self,
        module: TemporalModule,
        x: Tensor,
        position: Tensor | None = None,
        grid: Grid | None = None,
    ) -> Alignment | None:
        """Compute the alignment of a temporal module, or reuse the last one.

        Args:
            module (TemporalModule): The temporal module.
            x (Tensor): Its input (B, T, N, C).
            position (Tensor, optional): As in its `forward`. Defaults to None.
            grid (tuple[int, int], optional): Likewise. Defaults to None.

        Returns:
            Alignment | None: None for a module that does not align.

        Raises:
            ValueError: If a shared alignment is requested by a recomputation
                in the backward pass.
        """
        share = module.share_alignment
        if share == 1:
            return module.alignment(x, position, grid)
        # Blocks are recomputed from last to first, before the one that
        # computed the shared alignment: routes would differ from those of the
        # forward pass. The task id of autograd is -1 outside of a backward
        # pass, and cannot be traced.
        if not is_compiling() and torch._C._current_graph_task_id() != -1:
            raise ValueError(
                'Expected share_alignment=1 if the image model recomputes its '
                f'blocks in the backward pass, got {share!r}. To share '
                'alignments, use with_cp=True of the backbone instead of the '
                'activation checkpointing of the image model.'
            )
        # All that must agree. The features differ in every block, which shared
        # routes ignore by intention.
        problem = (*x.shape[:3], grid, share, module.alignment_key())
        if self._uses != share and problem == self._problem:
            self._uses += 1
            return self._alignment
        alignment = module.alignment(x, position, grid)
        # A module that does not align leaves the shared alignment to the
        # modules after it.
        if alignment is not None:
            self._alignment, self._problem, self._uses = alignment, problem, 1
        return alignment


def build_temporal(
    cfg: dict,
    embed_dims: int,
    num_heads: int,
    num_frames: int | None = None,
    drop_path_rate: float = 0.0,
) -> TemporalModule:
    """Build a temporal module, independently of mmengine's default scope.

    Args:
        cfg (dict): Its config, which overrides the other arguments.
        embed_dims (int): Channels C.
        num_heads (int): Number of heads.
        num_frames (int, optional): Frames per clip, T. Defaults to None.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.

    Raises:
        KeyError: If no module has the name in ``cfg``.
        TypeError: If an option in ``cfg`` is unknown.
        ValueError: If ``cfg`` is not a config, or not of a
            :class:`TemporalModule`.
    """
    kind = registered_class(cfg)
    if kind is not None and not issubclass(kind, TemporalModule):
        raise ValueError(
            'Expected the config of a temporal module that is a layer, got '
            f'{cfg}. Use TemporalAveraging, TemporalAttention, ATA or a class '
            'derived from ata_mm.models.TemporalModule; JointAttention is a '
            'block of ATATimeSformer alone.'
        )
    given = dict(
        embed_dims=embed_dims,
        num_heads=num_heads,
        num_frames=num_frames,
        drop_path_rate=drop_path_rate,
    )
    # Without a scope, mmengine would search the default scope of the run.
    return MODELS.build({'_scope_': 'mmaction', **cfg}, default_args=given)


def merge_default(cfg: dict | None, **default: Any) -> dict:
    """Return the config of a temporal module.

    Args:
        cfg (dict | None): That of the user. Options without a ``type``, such
            as by ``--cfg-options model.backbone.temporal.matcher=…``, are
            those of the default module.
        **default: The config of the default module.
    """
    if cfg is None:
        return default
    if isinstance(cfg, (dict, Config)) and 'type' not in cfg:
        return {**default, **cfg}
    return cfg


def registered_class(cfg: dict) -> type | None:
    """Return the class that the ``type`` of a config refers to.

    Args:
        cfg (dict): Its ``type`` is a class, or a name in the registry of
            MMAction2, whatever mmengine's default scope is.

    Returns:
        type | None: None if there is no ``type``, or no class of that name.

    Raises:
        ValueError: If ``cfg`` is not a config.
    """
    if not isinstance(cfg, (dict, Config)):
        raise ValueError(
            'Expected the config of a temporal module such as '
            f"dict(type='ATA'), got {cfg!r}."
        )
    kind = cfg.get('type')
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry('mmaction') as registry:
            kind = registry.get(kind)
    # A function may be registered too.
    return kind if isinstance(kind, type) else None


def build_temporal_layer(
    cfg: dict,
    embed_dims: int,
    head_dims: int,
    num_frames: int | None = None,
    drop_path_rate: float = 0.0,
    all_channels: Sequence[int] = (),
) -> TemporalModule:
    """Build a temporal module with heads of a given width.

    Args:
        cfg (dict): See :func:`build_temporal`.
        embed_dims (int): Channels C.
        head_dims (int): Channels per head; there are C / head_dims heads
            unless ``cfg`` sets ``num_heads``.
        num_frames (int, optional): See :func:`build_temporal`. Defaults to
            None.
        drop_path_rate (float): Rate of stochastic depth. Defaults to 0.
        all_channels (Sequence[int]): Channels of all blocks that have heads of
            this width, for the error message. Defaults to ``embed_dims``
            alone.

    Raises:
        ValueError: As :func:`build_temporal`, or if ``head_dims`` does not
            divide ``embed_dims``; the message lists numbers that do.
    """
    # Modules without heads, such as TemporalAveraging, accept any head_dims:
    # whether it matters is known only after building the module.
    divides = is_count(head_dims, 1) and embed_dims % head_dims == 0
    num_heads = embed_dims // head_dims if divides else 1
    module = build_temporal(
        cfg, embed_dims, num_heads, num_frames, drop_path_rate
    )
    if module.mixes_frames and not divides and 'num_heads' not in cfg:
        raise ValueError(
            'Expected head_dims to divide the channels of every block, got '
            f'head_dims={head_dims!r} and a block of {embed_dims} channels. '
            'Set head_dims to one of '
            f'{common_head_dims(all_channels or [embed_dims])}.'
        )
    return module


def common_head_dims(channels: Sequence[int]) -> list[int]:
    """Return the widths of heads that all blocks can have.

    Args:
        channels (Sequence[int]): Channels of each block.

    Returns:
        list[int]: The common divisors, in ascending order.
    """
    common = math.gcd(*channels)
    return [n for n in range(1, common + 1) if common % n == 0]
