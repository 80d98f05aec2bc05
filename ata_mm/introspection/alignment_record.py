# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""What the matchings of a model are like, from those that it uses."""
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn

from ata_mm.models import ATA
from ata_mm.ops import Alignment, align_frames

Grid = Tuple[int, int]


class Routes(NamedTuple):
    """The first clip of a batch at one temporal module.

    Args:
        alignment (Alignment): Its routes (1, T, N).
        similarity (Tensor): Of each step of each route, (1, T-1, N).
        grid (tuple[int, int], optional): Rows and columns of the patches.
    """
    alignment: Alignment
    similarity: Tensor
    grid: Optional[Grid]


class AlignmentRecord:
    """Listens to the matchings of a model, without matching again.

    Patches are followed in the frames' own order, also through a model that
    does not put them back.

    Attributes:
        seconds (float): Time spent on matching.
        first (Routes | None): What the first module did.
    """

    def __init__(self) -> None:
        self._on = False
        self.restart()

    def restart(self) -> None:
        """Forget what was heard, and listen."""
        self._on = True
        self.seconds = 0.
        self.first: Optional[Routes] = None
        self._means: Dict[str, List[Tensor]] = {}
        self._order: Optional[Tensor] = None  # of the stream, if not its own

    def stop(self) -> None:
        """Do not listen until `restart`."""
        self._on = False

    def attach(self, model: nn.Module) -> int:
        """Listen to all :class:`ATA` of a model; return how many there are."""
        modules = [m for m in model.modules() if isinstance(m, ATA)]
        for module in modules:
            module.aligner = self._listener(module.dealign)
        return len(modules)

    @staticmethod
    def detach(model: nn.Module) -> None:
        """Leave a model as it was before `attach`."""
        for module in model.modules():
            if isinstance(module, ATA):
                module.aligner = align_frames

    def means(self) -> Dict[str, float]:
        """Means over all routes and modules.

        Returns:
            dict[str, float]: 'displacement', how far a step of a route goes,
            in patches (only of modules that know their grid); 'in_place', the
            share of steps that stay at their place; 'similarity', the cosine
            similarity of matched patches.
        """
        return {
            name: torch.stack(values).mean().item()
            for name, values in self._means.items()
        }

    def _listener(self, dealign: bool) -> Callable[..., Alignment]:

        def align(x: Tensor, matcher: Callable, grid: Optional[Grid],
                  cache: Optional[Callable]) -> Alignment:
            if not self._on:
                return align_frames(x, matcher, grid, cache)
            start = now()
            alignment = align_frames(x, matcher, grid, cache)
            self.seconds += now() - start
            # A recomputation takes time, but its routes are known already.
            if torch._C._current_graph_task_id() == -1:
                self._note(x, alignment, grid, dealign)
            return alignment

        return torch.compiler.disable(align)

    def _note(self, x: Tensor, alignment: Alignment, grid: Optional[Grid],
              dealign: bool) -> None:
        similarity = alignment.similarity(x)
        alignment = self._in_picture(alignment)
        if not dealign:
            self._order = alignment.routes
        if self.first is None:
            first = Alignment(alignment.routes[:1])
            self.first = Routes(first, similarity[:1], grid)
        if x.shape[1] == 1:  # no steps
            return
        stays = alignment.routes.diff(dim=1) == 0
        values = dict(in_place=stays.float(), similarity=similarity)
        if grid is not None:
            values['displacement'] = alignment.displacement(grid)
        for name, value in values.items():
            self._means.setdefault(name, []).append(value.mean())

    def _in_picture(self, alignment: Alignment) -> Alignment:
        """Routes through a stream in route order, as routes through the
        frames, up to where the grid changes."""
        order, routes = self._order, alignment.routes
        if order is None or order.shape != routes.shape:
            self._order = None
            return alignment
        return Alignment(order.gather(-1, routes))


def now() -> float:
    """Seconds, with all work of the GPU done."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
