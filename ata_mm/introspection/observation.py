# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Observation of one clip, in a model or by its pixels."""

from dataclasses import dataclass
from typing import Dict, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np
import torch
from mmaction.models.recognizers.base import BaseRecognizer
from mmaction.structures import ActionDataSample
from torch import Tensor

from ata_mm.models.embeddings import sincos_embedding
from ata_mm.ops import Alignment, align_frames
from ata_mm.ops.types import Grid
from ata_mm.video import Clip, patchify

from .listener import AlignmentEvent, Listener, Read
from .taps import Tap, final_tap, temporal_taps

_SIDE = 16  # of a patch of `match_pixels`, in pixels


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

    def aligned(self) -> Tuple[Alignment, Tensor]:
        """Return the alignment and the features compared by the matching.

        Returns:
            tuple[Alignment, Tensor]: (1, T, N) and (1, T, N, C).

        Raises:
            ValueError: If the block does not align.
        """
        if self.alignment is None or self.features is None:
            raise ValueError(
                'Expected a block that aligns, such as ATA, got '
                f'{self.kind} ({self.name}).'
            )
        return self.alignment, self.features

    def similarity(self) -> Tensor:
        """Return the cosine similarity of each step of each route.

        Returns:
            Tensor: fp32 of shape (1, T-1, N).

        Raises:
            ValueError: If the block does not align.
        """
        alignment, features = self.aligned()
        return alignment.similarity(features)


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


def match_pixels(clip: Clip, grid: Grid) -> Block:
    """Match the patches of all neighbouring frames by their pixels.

    The features of a patch are the colours of 16 x 16 pixels and, at half
    their norm, a sinusoidal embedding of its position, as the tokens of a ViT
    contain both. Without the embedding, flat regions would match anywhere.

    Args:
        clip (Clip): T frames.
        grid (tuple[int, int]): Rows and columns of the patches, N in all.

    Returns:
        Block: With alignment and features (1, T, N, 832), without a response.
    """
    rows, columns = grid
    size = columns * _SIDE, rows * _SIDE
    frames = np.stack(
        [
            cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
            for frame in clip.frames
        ]
    )
    x = patchify(torch.from_numpy(frames).float() - 127.5, _SIDE)[None]
    position = sincos_embedding(grid, 64).view(1, 1, -1, 64)
    position = position / position.norm(dim=-1, keepdim=True)
    position = position * x.norm(dim=-1).mean() / 2
    x = torch.cat([x, position.expand(1, len(frames), -1, -1)], dim=-1)
    alignment = align_frames(x, grid=grid)
    return Block(0, 'pixels', 'pixels', grid, None, alignment, x)


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
