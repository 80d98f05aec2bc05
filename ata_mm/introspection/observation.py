# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""One forward pass of a clip, observed at the temporal modules."""

from dataclasses import dataclass
from typing import Dict, List, NamedTuple, Optional, Tuple

import torch
from mmaction.models.recognizers.base import BaseRecognizer
from mmaction.structures import ActionDataSample
from torch import Tensor

from ata_mm.ops import Alignment
from ata_mm.ops.types import Grid

from .listener import AlignmentEvent, Listener, Read
from .taps import Tap, final_tap, temporal_taps


@dataclass(frozen=True, eq=False)
class Block:
    """One clip at one temporal module.

    Patches are in the order of the frames, also if the model does not restore
    it (``dealign=False``).

    Args:
        index (int): Index of the temporal module in the model.
        name (str): Name of the module in the model.
        kind (str): Class name of the module.
        grid (tuple[int, int]): Height and width of the patch grid, N in all.
        response (Tensor, optional): Mean over the channels of the patches
            after the module, (T, height, width). Defaults to None.
        alignment (Alignment, optional): The alignment (1, T, N) that the
            module follows, None for a module that does not align. Defaults to
            None.
        features (Tensor, optional): The features compared by the matching,
            (1, T, N, C). Defaults to None.
    """

    index: int
    name: str
    kind: str
    grid: Grid
    response: Optional[Tensor] = None
    alignment: Optional[Alignment] = None
    features: Optional[Tensor] = None

    def similarity(self) -> Tensor:
        """Return the cosine similarity of each step of each route.

        Returns:
            Tensor: fp32 of shape (1, T-1, N).

        Raises:
            ValueError: If the block does not align.
        """
        if self.alignment is None or self.features is None:
            raise ValueError(
                f'Expected a block that aligns, such as ATA, got {self.kind}.'
            )
        return self.alignment.similarity(self.features)


class Observation(NamedTuple):
    """One clip in a model.

    Args:
        blocks (list[Block]): The temporal modules, in their order.
        final (Block): The last patches; see
            :func:`~ata_mm.introspection.final_tap`.
        scores (Tensor): The scores of the head, (num_classes,).
    """

    blocks: List[Block]
    final: Block
    scores: Tensor


@torch.no_grad()
def observe(model: BaseRecognizer, inputs: Tensor) -> Observation:
    """Run a recognizer on one view and observe its temporal modules.

    Args:
        model (BaseRecognizer): A recognizer of MMAction2.
        inputs (Tensor): One view as its test pipeline packs it, uint8:
            (1, 3, T, H, W) for a Recognizer3D, (T, 3, H, W) for a
            Recognizer2D.

    Returns:
        Observation: With tensors on the CPU.

    Raises:
        ValueError: If the model has no feature maps.
    """
    observer = _Observer()
    batch = dict(inputs=[inputs], data_samples=[ActionDataSample()])
    with observer.attach(model):
        result = model.test_step(batch)[0]
    *blocks, final = observer.blocks
    return Observation(blocks, final, result.pred_score.flatten().cpu())


class _Observer(Listener):
    """Listener that collects the first clip of a batch at all taps."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: List[Block] = []
        self._alignments: Dict[str, Tuple[Alignment, Tensor]] = {}

    def taps(self, model: BaseRecognizer) -> List[Tap]:
        """Return the taps after the temporal modules, and the final one."""
        return [*temporal_taps(model), final_tap(model)]

    def on_alignment(self, event: AlignmentEvent) -> None:
        """Note the alignment of a block, for its tap."""
        alignment = Alignment(event.alignment.routes[:1].cpu())
        features = event.features[:1].float().cpu()
        self._alignments[event.name] = alignment, features

    def on_patches(self, tap: Tap, x: Tensor, read: Read) -> None:
        """Collect a block."""
        patches, grid = read(x)
        response = patches[0].mean(-1).float().cpu().unflatten(1, grid)
        self.blocks.append(
            Block(
                len(self.blocks),
                tap.name,
                tap.kind,
                grid,
                response,
                *self._alignments.get(tap.name, (None, None)),
            )
        )
