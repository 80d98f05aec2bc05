# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Observation of one clip in a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from mmaction.models.recognizers.base import BaseRecognizer
from mmaction.structures import ActionDataSample
from torch import Tensor

from ata_mm.models import ATA, ATABackbone
from ata_mm.ops import Alignment
from ata_mm.ops.matching.similarity import compare, unfold_support
from ata_mm.ops.norms import normalize
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
        options (dict[str, object]): Options of
            :func:`~ata_mm.ops.align_frames` that the alignment has been
            computed with. Defaults to none.
        before (str): Name of the image block before which an
            :class:`~ata_mm.models.ATABackbone` calls the module. Defaults to
            ''.
    """

    index: int
    name: str
    kind: str
    grid: Grid
    response: Tensor | None = None
    alignment: Alignment | None = None
    features: Tensor | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    before: str = ''

    def aligned(self) -> tuple[Alignment, Tensor]:
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
        """Return the similarity of each step of each route.

        The cosine similarity of the features, averaged over the support window
        if the alignment has one.

        Returns:
            Tensor: fp32 of shape (1, T-1, N).

        Raises:
            ValueError: If the block does not align.
        """
        alignment, x = self.aligned()
        if self.support_radius:
            x = normalize(x)
            x = unfold_support(x, self.grid, self.support_radius)
        return alignment.similarity(x)

    def similarity_map(self, pair: int) -> Tensor:
        """Return the similarities of all patches of two neighbouring frames.

        Args:
            pair (int): Index of the first frame.

        Returns:
            Tensor: As of `similarity`, fp32 of shape (1, N, N).

        Raises:
            ValueError: If the block does not align.
        """
        _, x = self.aligned()
        return compare(
            x[:, pair : pair + 1],
            x[:, pair + 1 : pair + 2],
            self.grid,
            self.support_radius,
        )[:, 0]

    @property
    def support_radius(self) -> int:
        """Return the radius of the support window, 0 for none."""
        return self.options.get('support_radius', 0)


class Observation(NamedTuple):
    """One clip in a model.

    Args:
        blocks (list[Block]): The temporal modules, in their order.
        final (Block): The last patches; see
            :func:`~ata_mm.introspection.final_tap`.
        scores (Tensor): The scores of the head, (num_classes,).
    """

    blocks: list[Block]
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
        self.blocks: list[Block] = []
        # By the name of the temporal module.
        self._alignments: dict[str, tuple[Alignment, Tensor]] = {}
        self._options: dict[str, dict] = {}
        self._image_blocks: dict[str, str] = {}

    def taps(self, model: BaseRecognizer) -> list[Tap]:
        """Return the taps after the temporal modules, and the final one."""
        for name, module in model.named_modules():
            if isinstance(module, ATA):
                self._options[name] = module.aligner.options
            elif isinstance(module, ATABackbone):
                for index, block in enumerate(module.block_names):
                    self._image_blocks[f'{name}.temporal.{index}'] = block
        return [*temporal_taps(model), final_tap(model)]

    def on_alignment(self, event: AlignmentEvent) -> None:
        """Note the alignment of a block, for its tap."""
        self._alignments[event.name] = (
            event.alignment.clip(0, torch.device('cpu')),
            event.features[:1].float().cpu(),
        )

    def on_patches(self, tap: Tap, x: Tensor, read: Read) -> None:
        """Collect a block."""
        patches, grid = read(x)
        response = patches[0].mean(-1).float().cpu().unflatten(1, grid)
        alignment, features = self._alignments.get(tap.name, (None, None))
        self.blocks.append(
            Block(
                len(self.blocks),
                tap.name,
                tap.kind,
                grid,
                response,
                alignment,
                features,
                self._options.get(tap.name, {}),
                self._image_blocks.get(tap.name, ''),
            )
        )
