# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""One alignment for several blocks of a forward pass."""
from typing import Optional, Tuple

import torch
from torch import Tensor, nn

from ata_mm.ops import Alignment


class AlignmentSharing:
    """Finds the alignment of each temporal module, or hands on the last one.

    A backbone calls this once for each module, in order and outside of
    activation checkpointing, and passes the result to the module. So a
    matching is solved once a forward pass, whatever is recomputed later, and
    serves as many modules as ``share_alignment`` of :class:`ATA` says.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the last alignment, as at the start of a forward pass."""
        self._alignment: Optional[Alignment] = None
        self._problem: Optional[tuple] = None
        self._uses = 0

    def __call__(
            self,
            module: nn.Module,
            x: Tensor,
            position: Optional[Tensor] = None,
            grid: Optional[Tuple[int, int]] = None) -> Optional[Alignment]:
        """The alignment for a temporal module.

        Args:
            module (nn.Module): The temporal module.
            x (Tensor): Its input (B, T, N, C).
            position (Tensor, optional): As the module gets it. Defaults to
                None.
            grid (tuple[int, int], optional): Likewise. Defaults to None.

        Returns:
            Alignment | None: None for a module that does not align.

        Raises:
            ValueError: If an alignment that several modules share is asked for
                in a backward pass, that is in a recomputation.
        """
        if not hasattr(module, 'alignment'):
            return None
        share = module.share_alignment
        problem = (*x.shape[:3], grid, share, module.match_on,
                   type(module.matcher))
        # Blocks are recomputed last to first: the first of those that share
        # is not known yet, and routes would be others than in the forward.
        if share != 1 and torch._C._current_graph_task_id() != -1:
            raise ValueError(
                'Expected share_alignment=1 where the image model recomputes '
                f'its blocks in the backward pass, got {share!r}. Or use '
                'with_cp=True of the backbone, and not the activation '
                'checkpointing of the image model.')
        if problem != self._problem or self._uses == share:
            self._alignment = module.alignment(x, position, grid)
            self._problem, self._uses = problem, 0
        self._uses += 1
        return self._alignment
