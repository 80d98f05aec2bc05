# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Class-activation maps of recognizers, also of those made of tokens."""

import numpy as np
import torch
from mmaction.models.recognizers.base import BaseRecognizer
from mmaction.structures import ActionDataSample
from mmaction.utils import GradCAM
from torch import Tensor

from ata_mm.introspection import Listener, Tap, temporal_taps
from ata_mm.introspection.listener import Read
from ata_mm.models import ATA
from ata_mm.ops.types import Grid


def class_activation(
    model: BaseRecognizer,
    inputs: Tensor,
    label: int | None = None,
    block: int = -1,
) -> tuple[np.ndarray, int]:
    """Compute the class-activation map of a clip with MMAction2's Grad-CAM.

    MMAction2's Grad-CAM needs a layer whose output is a feature map. This one
    takes the patches after a temporal module, and arranges them as a map.

    Args:
        model (BaseRecognizer): A recognizer with temporal modules of ata_mm.
        inputs (Tensor): One view; see :func:`~ata_mm.introspection.observe`.
        label (int, optional): Index of the class. Defaults to None, the class
            with the highest score.
        block (int): Index of the temporal module. Defaults to -1, the last.

    Returns:
        tuple[np.ndarray, int]: The map, (T, height, width) of the inputs, from
        0 to 1; and the class.

    Raises:
        ValueError: If the block or the class does not exist, or the model does
            not de-align.
    """
    taps = temporal_taps(model)
    if not -len(taps) <= block < len(taps):
        raise ValueError(
            f'Expected a block from 0 to {len(taps) - 1}, of the '
            f'{len(taps)} temporal modules, got {block}.'
        )
    if any(isinstance(m, ATA) and not m.dealign for m in model.modules()):
        raise ValueError(
            'Expected a model that restores the order of the '
            'patches, got an ATA with dealign=False.'
        )
    sample = ActionDataSample()
    if label is not None:
        sample.set_gt_label(label)
    cam = _PatchCAM(model, taps[block])
    maps, label = cam.run(dict(inputs=[inputs], data_samples=[sample]), label)
    return maps[0].cpu().numpy(), label


class _PatchCAM(Listener, GradCAM):
    """MMAction2's Grad-CAM on the patches of a tap."""

    def __init__(self, model: BaseRecognizer, tap: Tap) -> None:
        Listener.__init__(self)
        GradCAM.__init__(self, model, tap.name)
        self._tap = tap

    def run(self, data: dict, label: int | None) -> tuple[Tensor, int]:
        """Compute the maps (1, T, height, width), and return the class too."""
        head = self.model.cls_head
        average = head.average_clips
        if label is not None and not 0 <= label < head.num_classes:
            raise ValueError(
                f'Expected a class from 0 to {head.num_classes - 1}'
                f', got {label}.'
            )
        try:
            with self.attach(self.model), torch.enable_grad():
                maps, scores = self._calculate_localization_map(
                    data, label is not None
                )
        finally:  # GradCAM changes both
            head.average_clips = average
            self.model.zero_grad()
        return maps, int(scores.argmax()) if label is None else label

    def taps(self, model: BaseRecognizer) -> list[Tap]:
        """Return the tap."""
        return [self._tap]

    def on_patches(self, tap: Tap, x: Tensor, read: Read) -> None:
        """Store the activations, and their gradients in the backward pass."""

        def store_gradients(gradient: Tensor) -> None:
            self.target_gradients = self._as_map(*read(gradient))

        if not x.requires_grad:  # a frozen model
            x.requires_grad_()
        self.target_activations = self._as_map(*read(x.detach()))
        x.register_hook(store_gradients)

    def _register_hooks(self, layer_name: str) -> None:
        """Register no hooks of GradCAM: `run` attaches the listener."""

    def _as_map(self, patches: Tensor, grid: Grid) -> Tensor:
        maps = patches.unflatten(2, grid).movedim(-1, 2)  # (B, T, C, h, w)
        if self.is_recognizer2d:
            return maps.flatten(0, 1).contiguous()
        return maps.transpose(1, 2).contiguous()
