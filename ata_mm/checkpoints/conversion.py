# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Conversion of published checkpoints: state_dict to state_dict.

Nothing here reads a file or changes a model.
"""

import re
import textwrap
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from ata_mm.ops.types import Grid

from .embeddings import (
    NUM_PREFIX_TOKENS,
    resize_pos_embed,
    resize_square_pos_embed,
    resize_time_bias,
    resize_time_embed,
)
from .key_layouts import (
    KeyLayout,
    StateDict,
    any_match,
    find_key_layout,
    has_key,
    rename,
    substitute,
)
from .key_tables import CONVNEXT, CYCLEMLP, IMAGE_UNCHANGED, find_family
from .pairing import LEAF, layer_name, pair_by_order

_EMBEDDINGS = (r'(^|\.)((pos|time)_embed(ding)?|time_bias)$',)
# The name of the patch grid in the metadata of a state_dict.
GRID = 'grid'
# Inside a key, also a number at the end of a segment is an index (layer2.); at
# the end of the key only a whole segment is one, since fc1 is a name.
_INDEX = re.compile(r'\d+(?=\.)|(?<=\.)\d+$')


@dataclass
class LoadReport:
    """Source of every parameter of a backbone.

    Args:
        layout (str): Name of the key layout of the checkpoint.
        loaded (list[str]): Parameters loaded unchanged.
        interpolated (list[str]): Embeddings interpolated to the model's size.
        copied (list[str]): Temporal parameters copied from spatial attention.
        zeroed (list[str]): Parameters set to zero.
        left (list[str]): Parameters left at their initial values.
        dropped (list[str]): Keys of the checkpoint that are not used: those of
            the head, and constants and final norms that the model lacks.
        paired (list[str]): Keys of the checkpoint and of the model that were
            paired by their order and shape, since no name agrees.
        head (str): Treatment of the classifier; '' if it is not part of what
            is loaded.
    """

    layout: str
    loaded: list[str] = field(default_factory=list)
    interpolated: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    zeroed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    paired: list[str] = field(default_factory=list)
    head: str = 'none in the checkpoint'

    def __str__(self) -> str:
        rows = [
            ('loaded unchanged', self.loaded),
            ('interpolated', self.interpolated),
            ('copied from the spatial attention', self.copied),
            ('set to zero', self.zeroed),
            ('left as initialised', self.left),
            ('dropped from the checkpoint', self.dropped),
            ('paired by order and shape, check them', self.paired),
        ]
        lines = [f'Checkpoint layout: {self.layout}. Parameters:']
        lines += [_row(title, keys) for title, keys in rows if keys]
        if self.head:
            lines.append(f'  classifier: {self.head}')
        return '\n'.join(lines)


class _ImageBackbone(nn.Module):
    """Shell that gives an image model its name in an ``ATABackbone``."""

    grid: Grid | None = None

    def __init__(self, image: nn.Module) -> None:
        super().__init__()
        self.image = image


def as_video_backbone(backbone: nn.Module) -> nn.Module:
    """Wrap a bare ConvNeXt or CycleMLP of ata_mm, return others unchanged.

    The wrapped model has the keys of the backbone that contains it, and
    shares its parameters.
    """
    wrapped = _ImageBackbone(backbone)
    keys = wrapped.state_dict()
    families = (CONVNEXT, CYCLEMLP)
    known = any(has_key(family.marker, keys) for family in families)
    return wrapped if known else backbone


def saved_grid(state_dict: StateDict) -> Grid | None:
    """Return the patch grid of a state_dict that a backbone of ata_mm made.

    Its position embeddings do not tell 4 x 9 patches from 6 x 6. Backbones
    record the grid in the metadata of the state_dict, which has no key.

    Args:
        state_dict (dict): Of a backbone or a recognizer.

    Returns:
        tuple[int, int] | None: Height and width; None if not recorded.
    """
    metadata = getattr(state_dict, '_metadata', None) or {}
    for entry in metadata.values():
        if isinstance(entry, dict) and entry.get(GRID):
            height, width = entry[GRID]
            return height, width
    return None


def convert_state_dict(
    state_dict: StateDict,
    backbone: nn.Module,
    source_grid: Grid | None = None,
) -> tuple[StateDict, LoadReport]:
    """Convert the keys of a published backbone to those of ata_mm.

    Position and time embeddings are interpolated to the model's size. Weights
    of the spatial attention are copied to the temporal attention from image
    models only, so that trained temporal weights are never overwritten.

    Args:
        state_dict (dict): Keys of the backbone alone (see
            :func:`~ata_mm.checkpoints.heads.split_head`).
        backbone (nn.Module): An ``ATATimeSformer`` or an ``ATABackbone``; not
            changed.
        source_grid (tuple[int, int], optional): The grid of the checkpoint's
            patches, see :func:`saved_grid`. Defaults to None: a square, or
            that of the backbone if it has as many patches and our layout.

    Returns:
        tuple[dict, LoadReport]: A complete state_dict for ``backbone``, and
        the report.

    Raises:
        ValueError: If the layout is unknown, the model lacks a key of the
            checkpoint, a shape does not fit, or a parameter is missing.
    """
    target = backbone.state_dict()
    layout = find_key_layout(state_dict, find_family(backbone).layouts)
    report = LoadReport(layout.name)
    renamed = rename(state_dict, layout)
    if layout is IMAGE_UNCHANGED and not renamed.keys() & target.keys():
        keys = pair_by_order(renamed, target)
        renamed = {name: renamed[key] for name, key in keys.items()}
        report.layout = 'image model, names of another package'
        report.paired = [
            f'{layer_name(key)} = {layer_name(name)}'
            for name, key in keys.items()
        ]
    renamed = _drop_unused(renamed, target, layout, report)
    converted = {}
    for key, value in renamed.items():
        converted[key] = _fit(
            key, value, target[key], backbone, layout, source_grid
        )
        resized = converted[key] is not value and any_match(_EMBEDDINGS, key)
        (report.interpolated if resized else report.loaded).append(key)
    _check_not_joint(converted, target, layout)
    _start_missing(converted, target, layout, report)
    _check_complete(converted, target, layout)
    return converted, report


def _drop_unused(
    source: StateDict, target: StateDict, layout: KeyLayout, report: LoadReport
) -> StateDict:
    """Return the keys that the model has, and report those dropped."""
    unused = sorted(source.keys() - target.keys())
    report.dropped = [key for key in unused if any_match(layout.drops, key)]
    unknown = [key for key in unused if key not in report.dropped]
    if unknown:
        raise ValueError(
            f'Expected every key of the checkpoint ({layout.name}) in the '
            f'model, got {len(unknown)} that it lacks: {unknown[:8]}. Use a '
            "model with the checkpoint's architecture, number of layers and "
            'temporal attention.'
        )
    return {key: value for key, value in source.items() if key in target}


def _fit(
    key: str,
    value: Tensor,
    own: Tensor,
    backbone: nn.Module,
    layout: KeyLayout,
    source_grid: Grid | None,
) -> Tensor:
    """Fit a parameter of the checkpoint to the shape of the model's own."""
    if key == 'time_embed':
        return resize_time_embed(value, own.shape[1])
    if key.endswith('.time_bias') and len(value) == len(own):
        return resize_time_bias(value, (own.shape[1] + 1) // 2)
    if any_match(_EMBEDDINGS, key) and value.ndim == own.ndim == 3:
        # Every video backbone has a grid, which nn.Module does not declare.
        grid = cast(Grid | None, backbone.grid)
        return _fit_positions(value, own, grid, layout, source_grid)
    if value.shape == own.shape:
        return value
    if value.squeeze().shape == own.squeeze().shape:
        return value.view_as(own)  # a linear layer as a 1 x 1 convolution
    return value


def _fit_positions(
    value: Tensor,
    own: Tensor,
    grid: Grid | None,
    layout: KeyLayout,
    source_grid: Grid | None,
) -> Tensor:
    """Fit a position embedding to the grid of the model's patches."""
    if value.shape == own.shape and layout.native and source_grid is None:
        return value
    if grid is not None:
        num_prefix = own.shape[1] - grid[0] * grid[1]
        if num_prefix in NUM_PREFIX_TOKENS:
            return resize_pos_embed(value, grid, num_prefix, source_grid)
        # Otherwise the embedding belongs to a map of another size.
    if value.shape == own.shape:
        return value
    return resize_square_pos_embed(value, own.shape[1])


def _check_not_joint(
    converted: StateDict, target: StateDict, layout: KeyLayout
) -> None:
    """Raise if joint attention is to be loaded into a temporal module."""
    if (
        layout.copies
        and 'time_embed' in converted
        and any('.temporal.' in key for key in target)
    ):
        raise ValueError(
            'Expected an image model or divided space-time attention, got an '
            f'{layout.name} with a time_embed, which is joint space-time '
            "attention. Set temporal=dict(type='JointAttention')."
        )


def _start_missing(
    converted: StateDict,
    target: StateDict,
    layout: KeyLayout,
    report: LoadReport,
) -> None:
    """Add the parameters that the layout starts without the checkpoint."""
    for key in sorted(target.keys() - converted.keys()):
        twin = substitute(layout.copies, key)
        if twin in converted:
            converted[key] = converted[twin].clone()
            report.copied.append(key)
        elif any_match(layout.zeros, key):
            converted[key] = torch.zeros_like(target[key])
            report.zeroed.append(key)
        elif any_match(layout.keeps, key):
            converted[key] = target[key]
            report.left.append(key)


def _check_complete(
    converted: StateDict, target: StateDict, layout: KeyLayout
) -> None:
    """Raise if a parameter is missing, or of another shape or kind."""
    for key, value in converted.items():
        own = target[key]
        if own.is_floating_point() and not value.is_floating_point():
            raise ValueError(
                f'Expected {key} in floating point, got {value.dtype} from '
                'the checkpoint. Save the weights without quantisation.'
            )
        if value.shape != own.shape:
            raise ValueError(
                f'Expected {key} of shape {tuple(own.shape)}, got '
                f'{tuple(value.shape)} from the checkpoint ({layout.name}). '
                "Check the model's arch or embed_dims, img_size, patch_size "
                'and num_frames.'
            )
    missing = sorted(target.keys() - converted.keys())
    if missing:
        raise ValueError(
            f'Expected every parameter of the backbone in the checkpoint '
            f'({layout.name}), got none for {len(missing)}: {missing[:8]}. '
            "Use a model with the checkpoint's architecture and number of "
            'layers.'
        )


def _row(title: str, keys: list[str]) -> str:
    """Return the number of keys and the names of their layers.

    Layers that differ in their indices alone are listed once, with ``*``.
    """
    layers = (LEAF.sub('', key) for key in keys)
    names = dict.fromkeys(_INDEX.sub('*', layer) for layer in layers)
    return textwrap.fill(
        f'{len(keys):6d} {title}: {", ".join(names)}',
        width=79,
        subsequent_indent=' ' * 9,
        break_long_words=False,
        break_on_hyphens=False,
    )
