# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Support of ``load_from`` for checkpoints of bare models."""

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from .conversion import backbone_keys, fit_classifier, split_head
from .loading import as_recognizer, read_state_dict


def name_as_recognizer(checkpoint: dict, model: nn.Module) -> None:
    """Rename the keys of a checkpoint to those of a recognizer, in place.

    The keys of a bare model (official TimeSformer, timm) have no prefix
    ``backbone.``, and mmengine would load none of them into a recognizer.
    They get it here, under 'state_dict'. The classifier becomes
    ``cls_head.fc_cls``; one of another shape is left out, and a message is
    logged. The backbone converts its own keys while it is loaded. Checkpoints
    of recognizers are not changed.

    Args:
        checkpoint (dict): The content of a checkpoint file, changed in place.
        model (nn.Module): The recognizer to load it into.

    Raises:
        ValueError: If the checkpoint has no state_dict.
    """
    state_dict = read_state_dict(checkpoint)
    if any(key.startswith('backbone.') for key in state_dict):
        return
    backbone = model.get_submodule('backbone')
    keys, head = split_head(state_dict, backbone_keys(backbone))
    classifier, reason = fit_classifier(head, model)
    if head and not classifier:
        print_log(f'classifier: {reason}', logger='current')
    checkpoint['state_dict'] = as_recognizer(keys, classifier)


@HOOKS.register_module()
class AdaptCheckpointHook(Hook):
    """Hook that adapts checkpoints of bare models for ``load_from``.

    See :func:`name_as_recognizer`. It runs before other hooks that read the
    checkpoint, such as mmengine's EMAHook.
    """

    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Rename the keys before mmengine loads them into the model."""
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        name_as_recognizer(checkpoint, model)
