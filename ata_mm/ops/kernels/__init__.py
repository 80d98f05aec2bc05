# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Fused GPU kernels of the alignment, in triton.

On a GPU the host needs longer to launch the small operators of an alignment
than the device to run them. Each kernel does the work of a function in one
launch; the function's plain torch code, which the CPU runs, is its reference.
Triton, which is optional, is imported at the first launch.
"""

from .operators import (
    chain_matching,
    invert_permutation,
    pairwise_cosine,
    take_patches,
    use_kernels,
)

__all__ = [
    'chain_matching',
    'invert_permutation',
    'pairwise_cosine',
    'take_patches',
    'use_kernels',
]
