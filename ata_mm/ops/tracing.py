# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Whether operations are recorded as a graph."""

import torch
from torch.compiler import is_compiling


def is_tracing() -> bool:
    """Return whether a graph is recorded, which keeps no value and no shape.

    By torch.compile, torch.export, or torch.jit.trace, which mmengine uses to
    count operations.
    """
    return is_compiling() or torch.jit.is_tracing()
