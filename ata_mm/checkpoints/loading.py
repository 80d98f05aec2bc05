# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Load image and video ViT checkpoints of any known layout, with a report."""
import re
from dataclasses import dataclass, field
from typing import List, Tuple, Union

import torch
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner.checkpoint import _load_checkpoint
from torch import nn

from .embeddings import resize_pos_embed, resize_time_embed
from .formats import StateDict, find_layout, rename, split_head

# A TimeSformer starts its temporal attention from the spatial one of the same
# block, and adds nothing at first: temporal_fc and time_embed are zero.
_SPATIAL_TWINS = ((r'\.temporal\.norm\.', '.norm1.'), (r'\.temporal\.attn\.',
                                                       '.attn.'))


@dataclass
class LoadReport:
    """Where every parameter of a model came from."""
    layout: str
    loaded: List[str] = field(default_factory=list)
    interpolated: List[str] = field(default_factory=list)
    copied: List[str] = field(default_factory=list)
    zeroed: List[str] = field(default_factory=list)
    head: str = 'none in the checkpoint'

    def __str__(self) -> str:
        rows = [('loaded as they are', self.loaded),
                ('interpolated', self.interpolated),
                ('copied from the spatial attention', self.copied),
                ('set to zero', self.zeroed)]
        counts = ''.join(f'\n  {len(keys):4d} {what}' for what, keys in rows
                         if keys)
        return (f'Checkpoint layout: {self.layout}. Parameters of the '
                f'backbone:{counts}\n  classifier: {self.head}')


def convert_state_dict(state_dict: StateDict,
                       backbone: nn.Module) -> Tuple[StateDict, LoadReport]:
    """Turn the keys of a published backbone into those of ours.

    A pure function. Spatial weights are copied to temporal attention only
    from image models, never over trained video weights.

    Args:
        state_dict (dict): Keys of the backbone alone (see
            :func:`~ata_mm.checkpoints.formats.split_head`).
        backbone (nn.Module): An ``ATATimeSformer``; not changed.

    Returns:
        tuple[dict, LoadReport]: A complete state_dict for ``backbone``, and
        the report.

    Raises:
        ValueError: If the layout is unknown, a key has no place in the model,
            a shape does not fit or a parameter is missing.
    """
    layout = find_layout(state_dict)
    source = rename(state_dict, layout)
    report = LoadReport(layout.name)
    target = backbone.state_dict()
    converted = {}
    for key, value in source.items():
        fitted = key in target and value.shape == target[key].shape
        own = layout.name == 'ata_mm' and fitted  # of any grid, not a square
        converted[key] = value if own else _fit(key, value, backbone)
        resized = converted[key] is not value
        (report.interpolated if resized else report.loaded).append(key)
    if layout.name.startswith('image'):
        if 'time_embed' in converted and any('.temporal.' in k
                                             for k in target):
            raise ValueError(
                'Expected an image model or divided space-time attention, got '
                f'keys of an {layout.name} with a time_embed: joint '
                "space-time attention, which is temporal=dict(type='"
                "JointAttention') here.")
        _start_temporal(converted, target, report)
    for key in target.keys() - converted.keys():
        if key.endswith('.time_bias'):  # the same function without it
            converted[key] = torch.zeros_like(target[key])
            report.zeroed.append(key)
    _check_placed(converted, target, report)
    return converted, report


def load_pretrained(model: nn.Module, source: Union[str, dict]) -> LoadReport:
    """Load a checkpoint into an ``ATATimeSformer`` or its recognizer.

    Takes image ViTs (timm, mmaction2, mmpretrain keys), TimeSformer (official
    and mmaction2 keys) and our own, with or without ``module.``, ``model.``,
    ``backbone.`` in front and with or without a head. Position embeddings are
    interpolated to other image sizes, time embeddings to other clip lengths.
    The classifier is loaded where the model has one of the same shape. The
    report is logged.

    Args:
        model (nn.Module): The backbone, or a recognizer that has one as
            ``backbone``.
        source (str | dict): A path or URL, or a checkpoint or state_dict.

    Returns:
        LoadReport: What became of every key.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a key of the backbone is left over, does not fit, or is
            missing; the model is unchanged then.
    """
    if is_model_wrapper(model):
        model = model.module
    backbone = getattr(model, 'backbone', model)
    keys, head = split_head(read_state_dict(source))
    converted, report = convert_state_dict(keys, backbone)
    backbone.load_state_dict(converted)
    report.head = _load_head(model, head)
    print_log(str(report), logger='current')
    return report


def adapt_state_dict(backbone: nn.Module, state_dict: StateDict,
                     prefix: str) -> None:
    """Convert, in place, what a load is about to hand to ``backbone``.

    For ``_load_from_state_dict``: nothing changes where the keys are ours,
    complete and fit.

    Args:
        backbone (nn.Module): An ``ATATimeSformer``.
        state_dict (dict): Changed in place.
        prefix (str): What the backbone's keys have in front.

    Raises:
        ValueError: As :func:`convert_state_dict`, or if no key has the
            prefix, so that the backbone would stay at random values.
    """
    target = backbone.state_dict()
    own = {k: v for k, v in state_dict.items() if k.startswith(prefix)}
    if not own:
        raise ValueError(
            f'Expected keys that start with {prefix!r} for the backbone, but '
            'the checkpoint has none. Name a checkpoint of a bare backbone '
            'as backbone.init_cfg=dict(type="Pretrained", checkpoint=...), or '
            'add custom_hooks=[dict(type="AdaptCheckpointHook")] to a config '
            'that uses load_from.')
    plain = {k[len(prefix):]: v for k, v in own.items()}
    if plain.keys() == target.keys() and all(v.shape == target[k].shape
                                             for k, v in plain.items()):
        return
    keys, head = split_head(plain)
    converted, report = convert_state_dict(keys, backbone)
    for key in own:
        del state_dict[key]
    state_dict.update({prefix + k: v for k, v in converted.items()})
    report.head = f'not part of the backbone ({len(head)} keys)'
    print_log(str(report), logger='current')


def read_state_dict(source: Union[str, dict]) -> StateDict:
    """A state_dict from a path, URL, checkpoint or state_dict.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If no tensors are found.
    """
    if isinstance(source, (str, bytes)) or hasattr(source, '__fspath__'):
        source = _load_checkpoint(str(source), map_location='cpu')
    for key in ('state_dict', 'model_state', 'model'):
        if isinstance(source.get(key), dict):
            source = source[key]
    if not source or not all(torch.is_tensor(v) for v in source.values()):
        raise ValueError(
            'Expected a state_dict of tensors, or a checkpoint that has one '
            "under 'state_dict', 'model_state' or 'model', got the keys "
            f'{list(source)[:8]}.')
    return source


def _fit(key: str, value: torch.Tensor, backbone: nn.Module) -> torch.Tensor:
    if key == 'pos_embed':
        return resize_pos_embed(value, backbone.grid)
    if key == 'time_embed':
        return resize_time_embed(value, backbone.num_frames)
    return value


def _start_temporal(converted: StateDict, target: StateDict,
                    report: LoadReport) -> None:
    for key in sorted(target.keys() - converted.keys()):
        twin = key
        for pattern, replacement in _SPATIAL_TWINS:
            twin = re.sub(pattern, replacement, twin)
        if twin in converted:
            converted[key] = converted[twin].clone()
            report.copied.append(key)
        elif key == 'time_embed' or '.temporal_fc.' in key:
            converted[key] = torch.zeros_like(target[key])
            report.zeroed.append(key)


def _check_placed(converted: StateDict, target: StateDict,
                  report: LoadReport) -> None:
    unplaced = sorted(converted.keys() - target.keys())
    if unplaced:
        raise ValueError(
            f'Expected every key of the checkpoint ({report.layout}) to have '
            f'a place in the model, but {len(unplaced)} have none: '
            f'{unplaced[:8]}. Has the model fewer layers, or no temporal '
            'attention where the checkpoint has it?')
    for key, value in converted.items():
        if value.shape != target[key].shape:
            raise ValueError(
                f'Expected {key} of shape {tuple(target[key].shape)}, got '
                f'{tuple(value.shape)} from the checkpoint ({report.layout}). '
                'Do embed_dims, patch_size, num_heads and num_frames agree?')
    missing = sorted(target.keys() - converted.keys())
    if missing:
        raise ValueError(
            'Expected a checkpoint with every parameter of the backbone, but '
            f'{len(missing)} are missing: {missing[:8]}.')


def _load_head(model: nn.Module, head: StateDict) -> str:
    """Load the classifier where it fits; returns what was done."""
    if not {'weight', 'bias'} <= head.keys():
        return 'none in the checkpoint'
    classes = len(head['weight'])
    layer = getattr(getattr(model, 'cls_head', None), 'fc_cls', None)
    if layer is None:
        return f'{classes} classes in the checkpoint, none in this model'
    if layer.weight.shape != head['weight'].shape:
        return (f'left as initialised ({len(layer.weight)} classes here, '
                f'{classes} in the checkpoint)')
    layer.load_state_dict({k: head[k] for k in ('weight', 'bias')})
    return f'loaded, {classes} classes'
