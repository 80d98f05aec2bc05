# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Base classes of the backbones, and validation of their options and input."""

from collections import OrderedDict
from collections.abc import Collection, Sequence

from mmengine.model import BaseModule
from torch import Tensor

from ata_mm.checkpoints import (
    adapt_state_dict,
    load_pretrained,
    read_state_dict,
)
from ata_mm.checkpoints.conversion import GRID, StateDict, saved_grid
from ata_mm.ops.types import Grid

#: Numbers per stage, such as ``dict(depths=[...], channels=[...])``.
Arch = dict[str, list[int]]


class PretrainedBackbone(BaseModule):
    """Backbone that loads its pretrained weights strictly.

    ``init_cfg=dict(type='Pretrained', checkpoint=...)`` goes to
    :func:`load_pretrained`, since mmengine's initialisation leaves parameters
    that the checkpoint lacks at random values.
    """

    def init_weights(self) -> None:
        """Load the checkpoint of ``init_cfg``, if any.

        Of its other options, ``prefix`` selects the keys that start with it.

        Raises:
            ValueError: If ``init_cfg`` is of type 'Pretrained' and names no
                checkpoint, if no key has the prefix, or as
                :func:`load_pretrained`.
        """
        init_cfg = self.init_cfg or {}
        if isinstance(init_cfg, (list, tuple)) and len(init_cfg) == 1:
            init_cfg = init_cfg[0]
        if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained':
            if init_cfg.get('checkpoint') is None:
                raise ValueError(
                    "Expected init_cfg=dict(type='Pretrained', "
                    f'checkpoint=PATH), got {init_cfg!r}.'
                )
            source = init_cfg['checkpoint']
            if init_cfg.get('prefix'):
                source = _keys_below(init_cfg['prefix'], source)
            load_pretrained(self, source)
            self._is_init = True
        else:
            super().init_weights()


def _keys_below(prefix: str, source: str) -> StateDict:
    """Return what a checkpoint has under a prefix, without it."""
    prefix = prefix.rstrip('.') + '.'
    state_dict = read_state_dict(source)
    found = OrderedDict(
        (key.removeprefix(prefix), value)
        for key, value in state_dict.items()
        if key.startswith(prefix)
    )
    if not found:
        raise ValueError(
            f'Expected keys that start with the prefix {prefix!r} of init_cfg '
            f'in {source}, got {list(state_dict)[:8]}.'
        )
    metadata = {'': {GRID: saved_grid(state_dict)}}
    found._metadata = metadata  # type: ignore[attr-defined]
    return found


class VideoBackbone(PretrainedBackbone):
    """Backbone that accepts checkpoints of every layout.

    The layouts are those known to :mod:`ata_mm.checkpoints`.

    Args:
        pretrained (str, optional): Path or URL for :func:`load_pretrained`;
            short for ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
            Defaults to None.
        init_cfg (dict, optional): As in mmengine. Defaults to None.

    Raises:
        ValueError: If both are given.
    """

    def __init__(
        self, pretrained: str | None = None, init_cfg: dict | None = None
    ) -> None:
        if pretrained is not None:
            if init_cfg is not None:
                raise ValueError(
                    'Expected either pretrained or init_cfg, got both: '
                    f'pretrained={pretrained!r}, init_cfg={init_cfg!r}. Leave '
                    'one out.'
                )
            init_cfg = dict(type='Pretrained', checkpoint=pretrained)
        super().__init__(init_cfg)
        self.grid: Grid | None = None
        self._register_state_dict_hook(_record_grid)

    def _load_from_state_dict(
        self,
        state_dict: dict,
        prefix: str,
        local_metadata: dict,
        *args,
        **kwargs,
    ) -> None:
        # Overridden here, and not in a loading function, to cover every way
        # in which torch and mmengine load a checkpoint, such as load_from.
        grid = local_metadata.get(GRID)
        adapt_state_dict(self, state_dict, prefix, grid and tuple(grid))
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, *args, **kwargs
        )


def _record_grid(
    backbone: VideoBackbone,
    state_dict: dict,
    prefix: str,
    local_metadata: dict,
) -> None:
    """Record the grid of the patches, which the shapes do not tell."""
    if backbone.grid is not None:
        local_metadata[GRID] = tuple(backbone.grid)


def chosen_blocks(
    temporal_blocks: str | Sequence[int], num_blocks: int
) -> Sequence[int]:
    """Return the indices of the blocks selected by ``temporal_blocks``.

    Args:
        temporal_blocks (str | Sequence[int]): 'all', or indices from 0.
        num_blocks (int): Number of blocks.

    Raises:
        ValueError: If it is neither, or an index is out of range.
    """
    if temporal_blocks == 'all':
        return range(num_blocks)
    if (
        isinstance(temporal_blocks, str)
        or not isinstance(temporal_blocks, Collection)
        or not all(i in range(num_blocks) for i in temporal_blocks)
    ):
        raise ValueError(
            "Expected temporal_blocks='all' or block indices from 0 to "
            f'{num_blocks - 1}, got {temporal_blocks!r}.'
        )
    return temporal_blocks


def read_arch(
    arch: str | dict,
    named: dict[str, Arch],
    optional: Sequence[str] = (),
) -> Arch:
    """Look up the size of a model, or validate one given in full.

    Args:
        arch (str | dict): A name in ``named``, or ``dict(depths=[...],
            channels=[...])`` with one number for each stage.
        named (dict[str, dict]): The published sizes.
        optional (Sequence[str]): Further keys that a dict may have. Defaults
            to ().

    Returns:
        dict[str, list[int]]: One number for each stage, by key.

    Raises:
        ValueError: If the name is unknown, the dict has other keys, or its
            values are not lists of positive integers of equal length.
    """
    sizes = named.get(arch) if isinstance(arch, str) else arch
    required = {'depths', 'channels'}
    known = required.union(optional)
    if not (isinstance(sizes, dict) and required <= set(sizes) <= known):
        more = f' with optional {", ".join(optional)}' if optional else ''
        raise ValueError(
            f'Expected arch to be one of {list(named)} or a '
            f'dict(depths=[...], channels=[...]){more}, got '
            f'{arch!r}.'
        )
    if not all(_one_per_stage(n, sizes['depths']) for n in sizes.values()):
        raise ValueError(
            'Expected a positive integer for each stage in every '
            f'list of arch, got {arch!r}.'
        )
    return sizes


def _one_per_stage(numbers: Sequence[int], depths: Sequence[int]) -> bool:
    return (
        isinstance(numbers, (list, tuple))
        and 0 < len(numbers) == len(depths)
        and all(isinstance(n, int) and n > 0 for n in numbers)
    )


def check_clips(
    x: Tensor,
    in_channels: int,
    num_frames: int,
    img_size: Sequence[int | str],
) -> None:
    """Raise if clips do not have the configured shape.

    Args:
        x (Tensor): Expected as (B, in_channels, num_frames, H, W).
        in_channels (int): Channels of the video.
        num_frames (int): Frames per clip, T.
        img_size (Sequence[int | str]): Height and width in pixels; a string
            stands for any size.

    Raises:
        ValueError: If x has another shape.
    """
    expected = ('B', in_channels, num_frames, *img_size)
    if x.ndim != 5 or any(
        isinstance(wanted, int) and wanted != got
        for wanted, got in zip(expected, x.shape)
    ):
        remedy = (
            'Set num_frames and img_size of the model to the output of the '
            'pipeline (SampleFrames.clip_len, the crop size), or change the '
            'pipeline.'
            if x.ndim == 5
            else "Use a Recognizer3D, FormatShape(input_format='NCTHW') in "
            "the pipeline and format_shape='NCTHW' in the data_preprocessor: "
            'a Recognizer2D passes each frame alone.'
        )
        raise ValueError(
            f'Expected clips ({", ".join(map(str, expected))}) = (B, '
            f'channels, num_frames, height, width), got {tuple(x.shape)}. '
            f'{remedy}'
        )


def check_images(x: Tensor, in_channels: int, min_size: int) -> None:
    """Raise if images do not have the configured shape.

    Args:
        x (Tensor): Expected as (B, in_channels, H, W).
        in_channels (int): Channels of the image.
        min_size (int): Minimum height and width in pixels, for which a
            feature map remains.

    Raises:
        ValueError: If x has another shape.
    """
    if x.ndim != 4 or x.shape[1] != in_channels or min(x.shape[2:]) < min_size:
        raise ValueError(
            f'Expected images (B, {in_channels}, H, W) of at least {min_size} '
            f'x {min_size} pixels, got {tuple(x.shape)}. Clips (B, 3, T, H, W)'
            ' need a video backbone, such as ATABackbone around this one.'
        )
