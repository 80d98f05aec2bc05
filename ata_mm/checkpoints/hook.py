# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""``load_from`` for checkpoints that no recognizer of MMAction2 wrote."""
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from .formats import split_head
from .loading import read_state_dict


@HOOKS.register_module()
class AdaptCheckpointHook(Hook):
    """Name the parts of a loaded checkpoint as a recognizer does.

    A checkpoint of a bare model (official TimeSformer, timm) has no
    ``backbone.`` in front of its keys, so that mmengine's ``load_from`` finds
    nothing in it. This hook puts ``backbone.`` and ``cls_head.fc_cls.``
    there; the backbone converts its layout itself. A classifier of another
    number of classes is left out, the head keeps its initialisation and a
    message says so. Checkpoints of recognizers pass unchanged.
    """

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Rename in place before mmengine loads it into the model."""
        state_dict = read_state_dict(checkpoint)
        if any(key.startswith('backbone.') for key in state_dict):
            return
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        keys, head = split_head(state_dict)
        renamed = {f'backbone.{k}': v for k, v in keys.items()}
        own = model.state_dict()
        for key in ('weight', 'bias'):
            name = f'cls_head.fc_cls.{key}'
            if key in head and own[name].shape == head[key].shape:
                renamed[name] = head[key]
            elif key in head:
                runner.logger.warning(
                    f'{name} keeps its initialisation: {len(own[name])} '
                    f'classes here, {len(head[key])} in the checkpoint.')
        checkpoint['state_dict'] = renamed
