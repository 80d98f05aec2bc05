# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""`solve_triton` as an operator of torch, which graphs can hold.

``torch.ops.ata_mm.solve_lap(similarity)``, (P, N, N) -> (P, N). Triton is
imported when the first problem is solved.
"""
import torch
from torch import Tensor

_LIBRARY = torch.library.Library('ata_mm', 'DEF')
_LIBRARY.define('solve_lap(Tensor similarity) -> Tensor')


def solve_lap(similarity: Tensor) -> Tensor:
    """See `solve_triton`. (P, N, N) fp32 -> (P, N) int64."""
    return torch.ops.ata_mm.solve_lap(similarity)


def _solve_lap(similarity: Tensor) -> Tensor:
    from .triton_lap import solve_triton
    return solve_triton(similarity)


def _fake_solve_lap(similarity: Tensor) -> Tensor:
    return similarity.new_empty(similarity.shape[:2], dtype=torch.int64)


for _key in ('CPU', 'CUDA'):
    _LIBRARY.impl('solve_lap', _solve_lap, _key)
# torch < 2.4 has it by another name.
_register_fake = getattr(torch.library, 'register_fake', None)
_register_fake = _register_fake or torch.library.impl_abstract
_register_fake('ata_mm::solve_lap', _fake_solve_lap, lib=_LIBRARY)
