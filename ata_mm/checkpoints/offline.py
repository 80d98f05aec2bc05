# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Convert a checkpoint once, instead of whenever it is loaded."""
from typing import Optional, Tuple, Union

from torch import nn

from .conversion import convert_state_dict, fit_classifier
from .formats import (
    CONVNEXT,
    CYCLEMLP,
    TIMESFORMER,
    find_classifier,
    find_key_layout,
    own_names,
    split_head,
    unused_head,
)
from .layout import StateDict, rename
from .reading import read_state_dict
from .report import LoadReport

# What can be told without a model: every layout but "the model's own keys".
_LAYOUTS = TIMESFORMER.layouts + CONVNEXT.layouts + CYCLEMLP.layouts


def convert_checkpoint(
        source: Union[str, dict],
        model: Optional[nn.Module] = None) -> Tuple[StateDict, LoadReport]:
    """Name the parameters of a checkpoint as a recognizer of ata_mm does.

    Without a model they are renamed, and keep the sizes of the checkpoint:
    embeddings are fitted and temporal attention is started when a model loads
    them. With a model this is done here, and what it would leave at its
    initial values is not part of the result.

    Args:
        source (str | dict): A path or URL, or a checkpoint or state_dict.
        model (nn.Module, optional): A recognizer with a backbone of ata_mm;
            not changed. Defaults to None.

    Returns:
        tuple[dict, LoadReport]: Keys ``backbone.…`` and
        ``cls_head.fc_cls.…``, and the report.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the layout is unknown, or the checkpoint does not fit
            the model.
    """
    state_dict = read_state_dict(source)
    if model is None:
        keys, head = split_head(state_dict)
        converted, report = _rename(keys)
        classifier = find_classifier(head)
        if classifier:
            report.head = f'kept, {len(classifier["weight"])} classes'
    else:
        keys, head = split_head(state_dict, own_names(model.backbone))
        converted, report = convert_state_dict(keys, model.backbone)
        classifier, report.head = fit_classifier(head, model)
    report.dropped += unused_head(head, classifier)
    named = {
        f'backbone.{k}': v
        for k, v in converted.items() if k not in report.left
    }
    named.update({f'cls_head.fc_cls.{k}': v for k, v in classifier.items()})
    return named, report


def _rename(keys: StateDict) -> Tuple[StateDict, LoadReport]:
    try:
        layout = find_key_layout(keys, _LAYOUTS)
    except ValueError as error:
        raise ValueError(f'{error} Another image model is known from the '
                         'config of its ATABackbone only: name one.') from None
    renamed = rename(keys, layout)
    return renamed, LoadReport(layout.name, loaded=list(renamed))
