# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Separate the head of a checkpoint from its backbone, by their keys."""

import re
from collections.abc import Container

import torch
from torch import nn

from .key_layouts import StateDict

_WRAPPER = re.compile(r'^(?:module|model|backbone|timesformer|vit|convnext)\.')
# Anywhere in a key: torch.compile of a part of a model.
_COMPILED = re.compile(r'(?<![^.])_orig_mod\.')
_HEAD = re.compile(
    r'^(?:neck|cls_head|aux_head|heads?(?!\.norm\.)|head_dist|_?fc|'
    r'classifier|last_linear|pre_logits|pooler|AuxLogits|aux1|aux2)\.|'
    r'^(?:n_averaged|steps)$'  # counters of averaged weights
)
_CLASSIFIER = re.compile(
    r'^(?:cls_head\.fc_cls|_?fc|last_linear|classifier(?:\.\d+)?|'
    r'heads?(?:\.fc|\.head|\.layers\.head)?)\.(weight|bias)$'
)


def split_head(
    state_dict: StateDict, own: Container[str] = ()
) -> tuple[StateDict, StateDict]:
    """Strip the prefixes of wrappers and separate the head from the backbone.

    Counters of averaged weights, of torch and mmengine, go to the head.

    Args:
        state_dict (dict): Keys as published, with or without the prefixes
            ``module.``, ``model.``, ``backbone.`` and those of transformers.
        own (Container[str]): Keys that belong to the backbone even if they
            look like a prefix or a head, see :func:`backbone_keys`. Defaults
            to none.

    Returns:
        tuple[dict, dict]: Keys of the backbone and keys of neck and head,
        both still in their own layout.

    Raises:
        ValueError: If two different tensors have the same name without
            prefixes.
    """
    backbone: StateDict = {}
    head: StateDict = {}
    full_names: dict[str, str] = {}
    for full, value in state_dict.items():
        key = full if full in own else _COMPILED.sub('', full)
        while key not in own and _WRAPPER.match(key):
            key = _WRAPPER.sub('', key)
        is_head = key not in own and _HEAD.match(key)
        part = head if is_head else backbone
        if key in part and not torch.equal(part[key], value):
            raise ValueError(
                f'Expected the weights of one model, got {full_names[key]} '
                f'and {full}, which differ. Keep the keys of one of them.'
            )
        part[key], full_names[key] = value, full
    return backbone, head


def backbone_keys(backbone: nn.Module) -> set[str]:
    """Return the keys of a backbone, with and without ``image.`` in front."""
    keys = set(backbone.state_dict())
    return keys | {re.sub(r'^image\.', '', key) for key in keys}


def find_classifier(head: StateDict) -> StateDict:
    """Return ``weight`` and ``bias`` of the classifier, empty without both."""
    layer = {}
    # Last that of a recognizer, whose backbone may have one of its own.
    for key in sorted(head, key=lambda key: key.startswith('cls_head.')):
        match = _CLASSIFIER.match(key)
        if match:
            layer[match[1]] = head[key]
    return layer if len(layer) == 2 else {}


def fit_classifier(head: StateDict, model: nn.Module) -> tuple[StateDict, str]:
    """Return the classifier of a checkpoint if it fits that of a recognizer.

    Args:
        head (dict): Keys of the head, in any layout.
        model (nn.Module): A recognizer, or a backbone; not changed.

    Returns:
        tuple[dict, str]: ``weight`` and ``bias`` for ``cls_head.fc_cls``,
        empty if they do not fit, and an explanation for the report.
    """
    layer = find_classifier(head)
    if not layer:
        return {}, 'none in the checkpoint'
    classes = len(layer['weight'])
    own = dict(model.named_parameters()).get('cls_head.fc_cls.weight')
    if own is None:
        return {}, unused_classifier(head)
    if own.shape != layer['weight'].shape:
        here, there = f'{len(own)} classes', f'{classes}'
        if len(own) == classes:  # the channels differ
            here = f'weights of shape {tuple(own.shape)}'
            there = f'{tuple(layer["weight"].shape)}'
        return {}, (
            f'left as initialised ({here} here, {there} in the checkpoint)'
        )
    return layer, f'loaded, {classes} classes'


def unused_classifier(head: StateDict) -> str:
    """Explain for the report what a backbone, which has no head, does.

    Args:
        head (dict): Keys of the head, in any layout.

    Returns:
        str: Whether there is a classifier, and why it is not loaded.
    """
    layer = find_classifier(head)
    if not layer:
        return 'none in the checkpoint'
    return (
        f'{len(layer["weight"])} classes in the checkpoint, not loaded into '
        'a backbone'
    )


def unused_head(head: StateDict, classifier: StateDict) -> list[str]:
    """Return the keys of a head other than those of a used classifier."""
    return [k for k in head if not (classifier and _CLASSIFIER.match(k))]
