# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Type aliases that the whole package shares."""

from typing import Tuple

#: Height and width of a grid of N = height * width patches.
Grid = Tuple[int, int]
