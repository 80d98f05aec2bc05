# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""state_dict to state_dict: what a model needs, from what a file has."""
from typing import Optional, Tuple

import torch
from torch import Tensor, nn

from . import image_layouts
from .embeddings import (
    PREFIXES,
    resize_pos_embed,
    resize_square_pos_embed,
    resize_time_embed,
)
from .formats import find_classifier, find_family, find_key_layout
from .layout import KeyLayout, StateDict, any_match, rename, substitute
from .report import LoadReport
from .vit_layouts import OURS

_EMBEDDINGS = (r'(^|\.)(pos|time)_embed(ding)?$', )
# A grid of as many patches as published files have may be of another shape:
# only these are sure to have that of the model.
_OURS = (OURS, image_layouts.OURS, image_layouts.OUR_IMAGE)


def convert_state_dict(state_dict: StateDict,
                       backbone: nn.Module) -> Tuple[StateDict, LoadReport]:
    """Turn the keys of a published backbone into those of ours.

    A pure function. Spatial weights are copied to temporal attention only
    from image models, never over trained video weights.

    Args:
        state_dict (dict): Keys of the backbone alone (see
            :func:`~ata_mm.checkpoints.formats.split_head`).
        backbone (nn.Module): An ``ATATimeSformer`` or an ``ATABackbone``; not
            changed.

    Returns:
        tuple[dict, LoadReport]: A complete state_dict for ``backbone``, and
        the report.

    Raises:
        ValueError: If the layout is unknown, a key has no place in the model,
            a shape does not fit or a parameter is missing.
    """
    target = backbone.state_dict()
    layout = find_key_layout(state_dict, find_family(backbone).layouts)
    report = LoadReport(layout.name)
    converted = {}
    for key, value in _placed(
            rename(state_dict, layout), target, layout, report).items():
        converted[key] = _fit(key, value, target[key], backbone, layout)
        resized = converted[key] is not value and any_match(_EMBEDDINGS, key)
        (report.interpolated if resized else report.loaded).append(key)
    _refuse_joint_attention(converted, target, layout)
    _start_missing(converted, target, layout, report)
    _check_complete(converted, target, layout)
    return converted, report


def fit_classifier(head: StateDict, model: nn.Module) -> Tuple[StateDict, str]:
    """The classifier for a recognizer, where it fits.

    Args:
        head (dict): Keys of the head, in any layout.
        model (nn.Module): A recognizer, or a backbone; not changed.

    Returns:
        tuple[dict, str]: The ``weight`` and ``bias`` of its
        ``cls_head.fc_cls``, nothing where they do not fit, and what is to be
        reported.
    """
    layer = find_classifier(head)
    if not layer:
        return {}, 'none in the checkpoint'
    classes = len(layer['weight'])
    own = getattr(getattr(model, 'cls_head', None), 'fc_cls', None)
    if own is None:
        return {}, f'{classes} classes in the checkpoint, none in this model'
    if own.weight.shape != layer['weight'].shape:
        return {}, (f'left as initialised ({len(own.weight)} classes here, '
                    f'{classes} in the checkpoint)')
    return layer, f'loaded, {classes} classes'


def _placed(source: StateDict, target: StateDict, layout: KeyLayout,
            report: LoadReport) -> StateDict:
    """The part of a checkpoint that the model has a place for."""
    unplaced = sorted(source.keys() - target.keys())
    report.dropped = [k for k in unplaced if any_match(layout.drops, k)]
    unplaced = [k for k in unplaced if k not in report.dropped]
    if unplaced:
        raise ValueError(
            f'Expected every key of the checkpoint ({layout.name}) to have a '
            f'place in the model, but {len(unplaced)} have none: '
            f'{unplaced[:8]}. Has the model fewer layers, another '
            'architecture, or no temporal attention where the checkpoint has '
            'it?')
    return {key: value for key, value in source.items() if key in target}


def _fit(key: str, value: Tensor, own: Tensor, backbone: nn.Module,
         layout: KeyLayout) -> Tensor:
    """Fit a parameter of the checkpoint to the model's own one."""
    if key == 'time_embed':
        return resize_time_embed(value, own.shape[1])
    if any_match(_EMBEDDINGS, key) and value.ndim == own.ndim == 3:
        return _fit_positions(value, own, getattr(backbone, 'grid', None),
                              layout)
    if value.shape == own.shape:
        return value
    if value.squeeze().shape == own.squeeze().shape:
        return value.view_as(own)  # a linear layer as 1 x 1 convolution
    return value


def _fit_positions(value: Tensor, own: Tensor, grid: Optional[Tuple[int, int]],
                   layout: KeyLayout) -> Tensor:
    """Fit a position embedding to the grid of the model's patches."""
    if value.shape == own.shape and layout in _OURS:
        return value
    num_prefix = own.shape[1] - grid[0] * grid[1] if grid else None
    if num_prefix in PREFIXES:  # else the patches are of another map
        return resize_pos_embed(value, grid, num_prefix)
    if value.shape == own.shape:
        return value
    return resize_square_pos_embed(value, own.shape[1])


def _refuse_joint_attention(converted: StateDict, target: StateDict,
                            layout: KeyLayout) -> None:
    if (layout.copies and 'time_embed' in converted
            and any('.temporal.' in key for key in target)):
        raise ValueError(
            'Expected an image model or divided space-time attention, got '
            f'keys of an {layout.name} with a time_embed: joint space-time '
            "attention, which is temporal=dict(type='JointAttention') here.")


def _start_missing(converted: StateDict, target: StateDict, layout: KeyLayout,
                   report: LoadReport) -> None:
    """Add what the layout says of parameters that the file does not have."""
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


def _check_complete(converted: StateDict, target: StateDict,
                    layout: KeyLayout) -> None:
    for key, value in converted.items():
        if value.shape != target[key].shape:
            raise ValueError(
                f'Expected {key} of shape {tuple(target[key].shape)}, got '
                f'{tuple(value.shape)} from the checkpoint ({layout.name}). '
                "Do the model's arch or embed_dims, patch_size and num_frames "
                'agree with those of the checkpoint?')
    missing = sorted(target.keys() - converted.keys())
    if missing:
        raise ValueError(
            'Expected a checkpoint with every parameter of the backbone, but '
            f'{len(missing)} are missing: {missing[:8]}.')
