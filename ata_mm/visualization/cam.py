# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Class-activation maps of models whose features are tokens, too."""
from typing import Optional, Tuple

import numpy as np
import torch
from mmaction.structures import ActionDataSample
from mmaction.utils import GradCAM
from torch import Tensor, nn

from ata_mm.introspection.taps import Read, Tap, temporal_taps
from ata_mm.models import ATA


def class_activation(model: nn.Module,
                     inputs: Tensor,
                     label: Optional[int] = None,
                     block: int = -1) -> Tuple[np.ndarray, int]:
    """Where in a clip a recognizer sees a class: MMAction2's Grad-CAM.

    MMAction2 takes a layer whose output is a feature map. Here the layer is
    the temporal module of a block, whose patches are laid out as one.

    Args:
        model (nn.Module): A recognizer with temporal modules of ata_mm.
        inputs (Tensor): One view, as :func:`~ata_mm.visualization.observe`
            takes it.
        label (int, optional): The class. Defaults to None, the one with the
            highest score.
        block (int): Index of the temporal module. Defaults to -1, the last.

    Returns:
        tuple[np.ndarray, int]: From 0 to 1, (T, height, width) of the inputs;
        and the class.

    Raises:
        ValueError: If there is no such block or class, or the model does not
            put patches back to their places.
    """
    taps = temporal_taps(model)
    if not -len(taps) <= block < len(taps):
        raise ValueError(f'Expected a block from 0 to {len(taps) - 1}, of the '
                         f'{len(taps)} temporal modules, got {block}.')
    if any(isinstance(m, ATA) and not m.dealign for m in model.modules()):
        raise ValueError('Expected a model that puts patches back to their '
                         'places, got an ATA with dealign=False.')
    sample = ActionDataSample()
    if label is not None:
        sample.set_gt_label(label)
    cam = _PatchCAM(model, taps[block])
    maps, label = cam.run(dict(inputs=[inputs], data_samples=[sample]), label)
    return maps[0].cpu().numpy(), label


class _PatchCAM(GradCAM):
    """MMAction2's GradCAM on the patches of a tap."""

    def __init__(self, model: nn.Module, tap: Tap) -> None:
        self._tap = tap
        super().__init__(model, tap.name)

    def run(self, data: dict, label: Optional[int]) -> Tuple[Tensor, int]:
        """Maps (1, T, height, width) and the class; leaves no trace."""
        head = self.model.cls_head
        average = head.average_clips
        if label is not None and not 0 <= label < head.num_classes:
            raise ValueError(
                f'Expected a class from 0 to {head.num_classes - 1}'
                f', got {label}.')
        try:
            with torch.enable_grad():
                maps, scores = self._calculate_localization_map(
                    data, label is not None)
        finally:
            self._handle.remove()
            head.average_clips = average
            self.model.zero_grad()
        return maps, int(scores.argmax()) if label is None else label

    def _register_hooks(self, layer_name: str) -> None:
        self._handle = self._tap.listen(self._note)

    def _note(self, x: Tensor, read: Read) -> None:
        if not x.requires_grad:  # a frozen model
            x.requires_grad_()
        self.target_activations = self._as_map(*read(x.detach()))
        x.register_hook(self._note_gradient(read))

    def _note_gradient(self, read: Read):

        def note(gradient: Tensor) -> None:
            self.target_gradients = self._as_map(*read(gradient))

        return note

    def _as_map(self, patches: Tensor, grid: Tuple[int, int]) -> Tensor:
        maps = patches.unflatten(2, grid).movedim(-1, 2)  # (B, T, C, h, w)
        if self.is_recognizer2d:
            return maps.flatten(0, 1).contiguous()
        return maps.transpose(1, 2).contiguous()
