# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Load checkpoints of any known layout into models."""

import copy
import re
from collections import OrderedDict
from typing import cast

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from ata_mm.ops.types import Grid

from .conversion import (
    GRID,
    LoadReport,
    as_video_backbone,
    convert_state_dict,
    saved_grid,
)
from .heads import (
    backbone_keys,
    find_classifier,
    fit_classifier,
    split_head,
    unused_classifier,
    unused_head,
)
from .key_layouts import StateDict, find_key_layout, rename
from .key_tables import ATA_BACKBONE, IDENTIFIABLE
from .reading import Source, check_finite_weights, name_of, read_state_dict

_WRAPPER = re.compile(r'^(?:module\.|_orig_mod\.)+')
_PASS_CONFIG = (
    'For another image model, pass the config of its ATABackbone, for a '
    'trained recognizer its config.'
)
_HEAD_NORM = re.compile(r'^image\.(?:head\.norm|fc_norm)\.weight$')


def load_pretrained(model: nn.Module, source: Source) -> LoadReport:
    """Load a checkpoint into a backbone of ata_mm or its recognizer.

    ``ATATimeSformer`` takes image ViTs (timm, mmaction2, mmpretrain and
    HuggingFace keys), TimeSformer (official, mmaction2 and HuggingFace keys)
    and our own; ``ATABackbone`` takes its image model in the model's own keys,
    ConvNeXt also in those of mmpretrain, timm and HuggingFace, and our own;
    bare ``ConvNeXt`` and ``CycleMLP`` models take the same image models. The
    prefixes ``module.``, ``model.`` and ``backbone.``, a neck and a head are
    optional. Position embeddings are interpolated to other image sizes, time
    embeddings to other clip lengths. The classifier is loaded if the model has
    one of the same shape. The report is logged.

    Args:
        model (nn.Module): The backbone, or a recognizer that has one as
            ``backbone``.
        source (str | PathLike | dict): A path or URL, or a checkpoint or
            state_dict.

    Returns:
        LoadReport: The source of every parameter, and the keys dropped.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the model lacks a key of the backbone, a shape does not
            fit, a parameter is missing, or a weight is NaN or infinite. The
            model is then unchanged.
    """
    if is_model_wrapper(model):
        model = model.get_submodule('module')
    parts = dict(model.named_children())
    backbone = as_video_backbone(parts.get('backbone', model))
    state_dict = read_state_dict(source)
    check_finite_weights(state_dict, name_of(source))
    keys, head = split_head(state_dict, backbone_keys(backbone))
    converted, report = convert_state_dict(
        keys, backbone, saved_grid(state_dict)
    )
    classifier, report.head = fit_classifier(head, model)
    if classifier:
        report.head += _unused_norm(head, report)
    report.dropped += unused_head(head, classifier)
    _load(backbone, converted)
    if classifier:
        model.get_submodule('cls_head.fc_cls').load_state_dict(classifier)
    print_log(str(report), logger='current')
    return report


def _unused_norm(head: StateDict, report: LoadReport) -> str:
    """Explain for the report that the input of a classifier differs.

    Args:
        head (dict): Keys of the head, in any layout.
        report (LoadReport): Of the backbone.

    Returns:
        str: '' if the model has the norm, or the checkpoint none.
    """
    unused = [key for key in report.dropped if key == 'image.norm.weight']
    if report.layout != ATA_BACKBONE.name:  # of a classifier of images
        # Of timm, which applies it in forward_head, not in forward_features.
        unused += [key for key in report.loaded if _HEAD_NORM.match(key)]
    first = head.get('classifier.0.weight')
    if first is not None and first.ndim == 1:  # of torchvision
        unused.append('classifier.0.weight')
    if not unused:
        return ''
    name = unused[0].removesuffix('.weight')
    return f', without the norm in front of it ({name}): scores differ'


def _load(backbone: nn.Module, state_dict: StateDict) -> None:
    """Load keys that fit, as saved by the version of the module classes.

    MNASNet of torchvision refuses weights of an unknown version.
    """
    versioned = OrderedDict(state_dict)
    metadata = backbone.state_dict()._metadata  # type: ignore[attr-defined]
    versioned._metadata = metadata  # type: ignore[attr-defined]
    # All keys have been checked. SwinTransformerV2 of mmpretrain removes those
    # of constants, which a strict load would miss.
    backbone.load_state_dict(versioned, strict=False)


def adapt_state_dict(
    backbone: nn.Module,
    state_dict: StateDict,
    prefix: str,
    source_grid: Grid | None = None,
) -> None:
    """Convert the keys of ``backbone`` in a state_dict, in place.

    For ``_load_from_state_dict``. Nothing changes if the keys are ours,
    complete and of the right shapes.

    Args:
        backbone (nn.Module): An ``ATATimeSformer`` or an ``ATABackbone``.
        state_dict (dict): The state_dict to be loaded, changed in place.
        prefix (str): Prefix of the backbone's keys.
        source_grid (tuple[int, int], optional): As in
            :func:`convert_state_dict`. Defaults to None.

    Raises:
        ValueError: As :func:`convert_state_dict`, or if no key has the
            prefix, which would leave the backbone at random values.
    """
    target = backbone.state_dict()
    own = {k: v for k, v in state_dict.items() if k.startswith(prefix)}
    if not own:
        raise ValueError(
            f'Expected keys that start with {prefix!r} for the backbone, got '
            'none in the checkpoint. Set a checkpoint of a bare backbone as '
            'backbone.init_cfg=dict(type="Pretrained", checkpoint=...), or '
            'add custom_hooks=[dict(type="AdaptCheckpointHook")] to a config '
            'that uses load_from.'
        )
    plain = {k[len(prefix) :]: v for k, v in own.items()}
    same_grid = source_grid is None or source_grid == backbone.grid
    if same_grid and {k: v.shape for k, v in plain.items()} == {
        k: v.shape for k, v in target.items()
    }:
        return
    keys, head = split_head(plain, backbone_keys(backbone))
    converted, report = convert_state_dict(keys, backbone, source_grid)
    for key in own:
        del state_dict[key]
    state_dict.update({prefix + k: v for k, v in converted.items()})
    report.dropped += head
    # The classifier of a recognizer is not among the keys of its backbone.
    report.head = unused_classifier(head) if head else ''
    print_log(str(report), logger='current')


def convert_checkpoint(
    source: Source, model: nn.Module | None = None
) -> tuple[StateDict, LoadReport]:
    """Convert a checkpoint to the keys of a recognizer of ata_mm.

    Without a model the keys are renamed and all shapes are kept; embeddings
    are interpolated and temporal attention is initialised when a model loads
    the result. With a model both are done here, and parameters that it would
    leave at their initial values are not part of the result. A neck and other
    parts of the model are kept, and all keys of a checkpoint that has those of
    the model, whatever its backbone.

    Args:
        source (str | PathLike | dict): A path or URL, or a checkpoint or
            state_dict.
        model (nn.Module, optional): A recognizer with a backbone of ata_mm, or
            the one that the checkpoint is of; not changed. Defaults to None.

    Returns:
        tuple[dict, LoadReport]: Keys of a recognizer, ``backbone.…``,
        ``cls_head.fc_cls.…`` and those of a neck, and the report.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the layout is unknown, the checkpoint does not fit the
            model, or a weight is NaN or infinite.
    """
    state_dict = read_state_dict(source)
    check_finite_weights(state_dict, name_of(source))
    grid = saved_grid(state_dict)
    if model is not None and _is_of(model, state_dict):
        return copy.copy(state_dict), _whole_report(model, state_dict)
    if model is None:
        keys, head = split_head(state_dict)
        converted, report = _rename(keys)
        classifier = find_classifier(head)
        if classifier:
            report.head = f'kept, {len(classifier["weight"])} classes'
        others = {}
        if report.layout == ATA_BACKBONE.name:  # of our own recognizers
            parts = ('neck.', 'cls_head.')
            others = {k: v for k, v in head.items() if k.startswith(parts)}
    else:
        backbone = model.get_submodule('backbone')
        keys, head = split_head(state_dict, backbone_keys(backbone))
        converted, report = convert_state_dict(keys, backbone, grid)
        grid = cast(Grid | None, backbone.grid)
        classifier, report.head = fit_classifier(head, model)
        if classifier:
            report.head += _unused_norm(head, report)
        others = _fit_others(head, model, report)
    unused = unused_head(head, classifier)
    report.loaded += others
    report.dropped += [key for key in unused if key not in others]
    loaded = {k: v for k, v in converted.items() if k not in report.left}
    result = as_recognizer(loaded, classifier, grid, model)
    result.update(others)
    return result, report


def _is_of(model: nn.Module, state_dict: StateDict) -> bool:
    """Return whether a state_dict has the keys, shapes and grid of a model."""
    own = model.state_dict()
    return saved_grid(state_dict) == saved_grid(own) and {
        k: v.shape for k, v in state_dict.items()
    } == {k: v.shape for k, v in own.items()}


def _whole_report(model: nn.Module, state_dict: StateDict) -> LoadReport:
    """Report that all keys are kept."""
    reason = ''
    if find_classifier(state_dict):
        _, reason = fit_classifier(state_dict, model)
    return LoadReport('the keys of the model', list(state_dict), head=reason)


def _fit_others(
    head: StateDict, model: nn.Module, report: LoadReport
) -> StateDict:
    """Return the keys of a model's parts beside backbone and classifier.

    Those that the checkpoint lacks are reported as left.

    Raises:
        ValueError: If a shape does not fit.
    """
    own = {
        key: value
        for key, value in model.state_dict().items()
        if not key.startswith(('backbone.', 'cls_head.fc_cls.'))
    }
    others = {key: value for key, value in head.items() if key in own}
    for key, value in others.items():
        if value.shape != own[key].shape:
            raise ValueError(
                f'Expected {key} of shape {tuple(own[key].shape)}, got '
                f'{tuple(value.shape)} from the checkpoint. Use the config of '
                'its training.'
            )
    report.left += sorted(own.keys() - others.keys())
    return others


def as_recognizer(
    backbone: StateDict,
    classifier: StateDict,
    grid: Grid | None = None,
    model: nn.Module | None = None,
) -> StateDict:
    """Add the prefixes that backbone and classifier have in a recognizer.

    Args:
        backbone (dict): Keys of the backbone.
        classifier (dict): ``weight`` and ``bias``, or empty.
        grid (tuple[int, int], optional): The grid of the patches, which is
            recorded as :func:`saved_grid` reads it. Defaults to None.
        model (nn.Module, optional): A recognizer whose versions of modules are
            recorded, which MNASNet of torchvision needs. Defaults to None.

    Returns:
        dict: Keys of a recognizer.
    """
    keys = OrderedDict(
        [(f'backbone.{key}', value) for key, value in backbone.items()]
        + [(f'cls_head.fc_cls.{k}', v) for k, v in classifier.items()]
    )
    metadata: dict[str, dict] = {}
    if model is not None:
        metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    own = metadata.setdefault('backbone', {})
    own.pop(GRID, None)  # that of the model, not of the embeddings
    if grid is not None:
        own[GRID] = tuple(grid)
    keys._metadata = metadata  # type: ignore[attr-defined]
    return keys


def name_as_recognizer(checkpoint: dict, model: nn.Module) -> StateDict:
    """Rename the keys of a checkpoint to those of a recognizer, in place.

    The keys of a bare model (official TimeSformer, timm) have no prefix
    ``backbone.``, and mmengine would load none of them into a recognizer.
    They get it here, under 'state_dict'. The classifier becomes
    ``cls_head.fc_cls``, also that of an image classifier of mmpretrain, whose
    backbone has the prefix. If it is of another shape, a message is logged.
    The backbone converts its own keys while it is loaded.

    Args:
        checkpoint (dict): The content of a checkpoint file, changed in place.
        model (nn.Module): The recognizer to load it into.

    Returns:
        dict: The state_dict.

    Raises:
        ValueError: If the checkpoint has no state_dict.
    """
    state_dict = read_state_dict(checkpoint)
    for key in [k for k in state_dict if _WRAPPER.match(k)]:
        state_dict[_WRAPPER.sub('', key)] = state_dict.pop(key)
    backbone = model.get_submodule('backbone')
    keys, head = split_head(state_dict, backbone_keys(backbone))
    classifier, reason = fit_classifier(head, model)
    if find_classifier(head) and not classifier:
        print_log(f'classifier: {reason}', logger='current')
    if any(key.startswith('backbone.') for key in state_dict):
        # Of a recognizer, whose neck is kept, or of an image classifier.
        for key, value in list(state_dict.items()):
            if any(value is one for one in classifier.values()):
                del state_dict[key]
        state_dict.update(as_recognizer({}, classifier))
    else:
        grid = saved_grid(state_dict)
        state_dict = as_recognizer(keys, classifier, grid, model)
    if state_dict is not checkpoint:
        checkpoint['state_dict'] = state_dict
    return state_dict


@HOOKS.register_module()
class AdaptCheckpointHook(Hook):
    """Hook that adapts checkpoints of bare models for ``load_from``.

    See :func:`name_as_recognizer`. It runs before other hooks that read the
    checkpoint, such as mmengine's EMAHook.
    """

    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Rename the keys before mmengine loads them into the model.

        Raises:
            ValueError: As :func:`name_as_recognizer`, or if a weight is NaN or
                infinite.
        """
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        state_dict = name_as_recognizer(checkpoint, model)
        check_finite_weights(state_dict, runner._load_from or 'the checkpoint')


def _rename(keys: StateDict) -> tuple[StateDict, LoadReport]:
    """Rename the keys of a backbone whose layout identifies its family.

    Raises:
        ValueError: If the layout is unknown, or its models lack a key.
    """
    try:
        layout = find_key_layout(keys, IDENTIFIABLE)
    except ValueError as error:
        raise ValueError(f'{error} {_PASS_CONFIG}') from None
    renamed = rename(keys, layout)
    unknown = [key for key in renamed if not re.match(layout.names, key)]
    if unknown:
        raise ValueError(
            f'Expected keys of this layout alone: {layout.name}; got '
            f'{len(unknown)} others: {unknown[:8]}. {_PASS_CONFIG}'
        )
    return renamed, LoadReport(layout.name, loaded=list(renamed))
