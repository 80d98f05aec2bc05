# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What the temporal modules of a model see and do in one forward pass."""
from typing import List, NamedTuple, Optional, Tuple

import torch
from mmaction.structures import ActionDataSample
from torch import Tensor, nn

from ata_mm.models import ATA
from ata_mm.ops import Alignment

from .taps import Grid, Read, Tap, final_tap, temporal_taps


class Block(NamedTuple):
    """One clip at one temporal module.

    Patches are in the frames' own order, also where a model that does not put
    them back has them in another.

    Args:
        index (int): Which temporal module of the model it is.
        name (str): Its name in the model.
        kind (str): Type of the module.
        grid (tuple[int, int]): Rows and columns of the patches, N in all.
        response (Tensor, optional): Mean over the channels of the patches
            behind the module, (T, rows, columns).
        alignment (Alignment, optional): The routes (1, T, N) that the module
            took, None of a module that does not align.
        features (Tensor, optional): What the matching compared, (1, T, N, C).
    """
    index: int
    name: str
    kind: str
    grid: Grid
    response: Optional[Tensor] = None
    alignment: Optional[Alignment] = None
    features: Optional[Tensor] = None

    def similarity(self) -> Tensor:
        """Cosine similarity of each step of each route, (1, T-1, N)."""
        return self.alignment.similarity(self.features)


class Observation(NamedTuple):
    """One clip in a model.

    Args:
        blocks (list[Block]): What each temporal module did, in order.
        final (Block): The last patches; see
            :func:`~ata_mm.introspection.taps.final_tap`.
        scores (Tensor): What the head says, (num_classes,).
    """
    blocks: List[Block]
    final: Block
    scores: Tensor


@torch.no_grad()
def observe(model: nn.Module, inputs: Tensor) -> Observation:
    """Run a recognizer on one view and note what its temporal modules do.

    Args:
        model (nn.Module): A recognizer of MMAction2.
        inputs (Tensor): One view as its test pipeline packs it: uint8, (1, 3,
            T, H, W) of a Recognizer3D, (T, 3, H, W) of a Recognizer2D.

    Returns:
        Observation: On the CPU.

    Raises:
        ValueError: If the model has no feature maps.
    """
    notes = _Notes()
    handles = [notes.listen(tap) for tap in temporal_taps(model)]
    handles.append(notes.listen(final_tap(model)))
    for name, module in model.named_modules():
        if isinstance(module, ATA):
            handles.append(
                module.register_forward_pre_hook(notes.matching(name)))
    try:
        batch = dict(inputs=[inputs], data_samples=[ActionDataSample()])
        result = model.test_step(batch)[0]
    finally:
        for handle in handles:
            handle.remove()
    return Observation(*notes.blocks(), result.pred_score.flatten().cpu())


class _Notes:
    """Collects blocks by name, as the model comes to them."""

    def __init__(self) -> None:
        self._blocks = {}
        self._matchings = {}
        self._order: Optional[
            Alignment] = None  # of the stream, if not its own

    def listen(self, tap: Tap):
        """Note the responses at a tap."""

        def note(x: Tensor, read: Read) -> None:
            patches, grid = read(x)
            response = patches[:1].mean(-1, keepdim=True).float().cpu()
            response = self._in_picture(response)[0, ..., 0]
            alignment, features = self._matchings.get(tap.name, (None, None))
            self._blocks[tap.name] = Block(
                len(self._blocks), tap.name, tap.kind, grid,
                response.unflatten(1, grid), alignment, features)

        return tap.listen(note)

    def matching(self, name: str):
        """A hook that notes what an ATA compares and which routes it takes."""

        def note(module: ATA, args: tuple) -> None:
            x, position, grid, alignment = (*args, None, None, None)[:4]
            if alignment is None:
                alignment = module.alignment(x, position, grid)
            features = module.compared(x, position)[:1].float().cpu()
            features = self._in_picture(features)
            routes = alignment.routes[:1].cpu()
            if self._order is not None:
                routes = self._order.routes.gather(-1, routes)
            self._matchings[name] = Alignment(routes), features
            if not module.dealign:
                self._order = self._matchings[name][0]

        return note

    def blocks(self) -> Tuple[List[Block], Block]:
        """All blocks in the order of the model, the last apart."""
        *blocks, final = self._blocks.values()
        return blocks, final

    def _in_picture(self, x: Tensor) -> Tensor:
        """Undo the order that a model without de-alignment has its stream in,
        up to where its grid changes."""
        if self._order is None or self._order.routes.shape != x.shape[:-1]:
            self._order = None
            return x
        return self._order.dealign(x)
