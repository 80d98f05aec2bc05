# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""``load_from`` for checkpoints that no recognizer of MMAction2 wrote."""
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import nn

from .conversion import fit_classifier
from .formats import own_names, split_head
from .reading import read_state_dict


def name_as_recognizer(checkpoint: dict, model: nn.Module) -> None:
    """Name the parts of a checkpoint as a recognizer does, in place.

    A checkpoint of a bare model (official TimeSformer, timm) has no
    ``backbone.`` in front of its keys, so that mmengine finds nothing in it
    for a recognizer. Afterwards they have it, under 'state_dict', and the
    classifier is ``cls_head.fc_cls``, unless it is of another shape: then it
    is left out, and a message says so. The backbone converts its own layout
    when it is loaded. Checkpoints of recognizers are not changed.

    Args:
        checkpoint (dict): As read from a file, changed in place.
        model (nn.Module): The recognizer that is to take it.
    """
    state_dict = read_state_dict(checkpoint)
    if any(key.startswith('backbone.') for key in state_dict):
        return
    keys, head = split_head(state_dict, own_names(model.backbone))
    renamed = {f'backbone.{k}': v for k, v in keys.items()}
    classifier, what = fit_classifier(head, model)
    if classifier:
        renamed.update(
            {f'cls_head.fc_cls.{k}': classifier[k]
             for k in classifier})
    elif head:
        print_log(f'classifier: {what}', logger='current')
    checkpoint['state_dict'] = renamed


@HOOKS.register_module()
class AdaptCheckpointHook(Hook):
    """Let ``load_from`` take checkpoints of bare models.

    See :func:`name_as_recognizer`. Runs before other hooks look at the
    checkpoint, such as mmengine's EMAHook.
    """

    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Rename in place before mmengine loads it into the model."""
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        name_as_recognizer(checkpoint, model)
