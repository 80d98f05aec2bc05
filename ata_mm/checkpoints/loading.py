# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Load image and video checkpoints of any known layout, with a report."""
from typing import Union

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import nn

from .conversion import convert_state_dict, fit_classifier
from .formats import as_video_backbone, own_names, split_head, unused_head
from .layout import StateDict
from .reading import read_state_dict
from .report import LoadReport


def load_pretrained(model: nn.Module, source: Union[str, dict]) -> LoadReport:
    """Load a checkpoint into a backbone of ata_mm or its recognizer.

    ``ATATimeSformer`` takes image ViTs (timm, mmaction2, mmpretrain keys),
    TimeSformer (official, mmaction2 and HuggingFace keys) and our own;
    ``ATABackbone`` takes its image model in the model's own keys, ConvNeXt
    also in those of mmpretrain and timm, and our own; ``ConvNeXt`` and
    ``CycleMLP`` by themselves take the same image models. ``module.``,
    ``model.``, ``backbone.`` in front, a neck and a head may be there or not.
    Position embeddings are interpolated to other image sizes, time embeddings
    to other clip lengths. The classifier is loaded where the model has one of
    the same shape. The report is logged.

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
    backbone = as_video_backbone(getattr(model, 'backbone', model))
    keys, head = split_head(read_state_dict(source), own_names(backbone))
    converted, report = convert_state_dict(keys, backbone)
    classifier, report.head = fit_classifier(head, model)
    report.dropped += unused_head(head, classifier)
    backbone.load_state_dict(converted)
    if classifier:
        model.cls_head.fc_cls.load_state_dict(classifier)
    print_log(str(report), logger='current')
    return report


def adapt_state_dict(backbone: nn.Module, state_dict: StateDict,
                     prefix: str) -> None:
    """Convert, in place, what a load is about to hand to ``backbone``.

    For ``_load_from_state_dict``: nothing changes where the keys are ours,
    complete and fit.

    Args:
        backbone (nn.Module): An ``ATATimeSformer`` or an ``ATABackbone``.
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
    keys, head = split_head(plain, own_names(backbone))
    converted, report = convert_state_dict(keys, backbone)
    for key in own:
        del state_dict[key]
    state_dict.update({prefix + k: v for k, v in converted.items()})
    report.dropped += head
    report.head = f'not part of the backbone ({len(head)} keys)'
    print_log(str(report), logger='current')
