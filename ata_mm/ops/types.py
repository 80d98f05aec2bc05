# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Type aliases that the whole package shares."""

#: Height and width of a grid of N = height * width patches.
Grid = tuple[int, int]
