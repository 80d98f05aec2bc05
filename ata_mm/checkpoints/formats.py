# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Tell the layout of a checkpoint from its keys, and the head from the rest.

What is known about a layout stands in :mod:`.vit_layouts` and
:mod:`.image_layouts`.
"""
import re
from typing import Container, Iterable, List, Sequence, Set, Tuple

from torch import nn

from .image_layouts import CONVNEXT, CYCLEMLP, IMAGE
from .layout import Family, KeyLayout, StateDict
from .vit_layouts import TIMESFORMER

# The first of which a model's parameter matches the marker is taken.
FAMILIES = (TIMESFORMER, CONVNEXT, CYCLEMLP, IMAGE)

_WRAPPER = re.compile(r'^(?:module|model|backbone|timesformer)\.')
_HEAD = re.compile(r'^(?:neck|cls_head|heads?(?!\.norm\.)|head_dist|fc|'
                   r'classifier|last_linear|pre_logits)\.')
_CLASSIFIER = re.compile(
    r'^(?:cls_head\.fc_cls|fc|last_linear|classifier(?:\.\d+)?|'
    r'heads?(?:\.fc|\.head|\.layers\.head)?)\.(weight|bias)$')


def find_family(backbone: nn.Module) -> Family:
    """Tell the family of a model from the names of its parameters.

    Raises:
        ValueError: If it is no backbone of ata_mm.
    """
    keys = list(backbone.state_dict())
    for family in FAMILIES:
        if _matches(family.marker, keys):
            return family
    raise ValueError(
        'Expected a backbone of ata_mm (ATATimeSformer, ATABackbone, '
        'ATAConvNeXt, ATACycleMLP, ConvNeXt, CycleMLP), got '
        f'{type(backbone).__name__} with the parameters {sorted(keys)[:8]}.')


def as_video_backbone(backbone: nn.Module) -> nn.Module:
    """Name the parameters of our ConvNeXt and CycleMLP, where they stand by
    themselves, as in an ``ATABackbone``: the model as its submodule."""
    named = nn.ModuleDict(dict(image=backbone))
    known = any(
        _matches(family.marker, named.state_dict())
        for family in (CONVNEXT, CYCLEMLP))
    return named if known else backbone


def find_key_layout(keys: Iterable[str],
                    layouts: Sequence[KeyLayout]) -> KeyLayout:
    """Tell the layout of a backbone's keys.

    Raises:
        ValueError: If no key is of one of the layouts.
    """
    for layout in layouts:
        if _matches(layout.marker, keys):
            return layout
    raise ValueError(
        'Expected a checkpoint in one of these layouts: '
        f'{", ".join(dict.fromkeys(layout.name for layout in layouts))}; none '
        f'of its keys fits. The first are {sorted(keys)[:8]}.')


def split_head(
    state_dict: StateDict, own: Container[str] = ()
) -> Tuple[StateDict, StateDict]:
    """Strip the names of wrappers and tell head and neck from the backbone.

    Args:
        state_dict (dict): Keys as published, with or without ``module.``,
            ``model.``, ``backbone.`` or ``timesformer.`` in front.
        own (Container[str]): Names that belong to the backbone whatever they
            look like, see :func:`own_names`. Defaults to none.

    Returns:
        tuple[dict, dict]: Keys of the backbone and keys of neck and head,
        both still in their own layout.
    """
    backbone, head = {}, {}
    for key, value in state_dict.items():
        while key not in own and _WRAPPER.match(key):
            key = _WRAPPER.sub('', key)
        is_head = key not in own and _HEAD.match(key)
        (head if is_head else backbone)[key] = value
    return backbone, head


def own_names(backbone: nn.Module) -> Set[str]:
    """The names of a model's parameters, those of its image model also as
    they are without ``image.`` in front."""
    keys = set(backbone.state_dict())
    return keys | {re.sub(r'^image\.', '', key) for key in keys}


def find_classifier(head: StateDict) -> StateDict:
    """The ``weight`` and ``bias`` of the classifier, or nothing."""
    layer = {}
    for key, value in head.items():
        match = _CLASSIFIER.match(key)
        if match:
            layer[match[1]] = value
    return layer if len(layer) == 2 else {}


def unused_head(head: StateDict, classifier: StateDict) -> List[str]:
    """Keys of a head without those of the classifier that is taken from it."""
    return [k for k in head if not (classifier and _CLASSIFIER.match(k))]


def _matches(marker: str, keys: Iterable[str]) -> bool:
    return any(re.match(marker, key) for key in keys)
