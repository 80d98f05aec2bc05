# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Layers that several image models have in common."""

from torch import nn


class Mlp(nn.Sequential):
    """Two linear layers with a GELU in between, named as in timm."""

    def __init__(
        self, embed_dims: int, hidden_dims: int, out_dims: int | None = None
    ) -> None:
        super().__init__()
        # A Sequential calls its submodules in the order of assignment.
        self.fc1 = nn.Linear(embed_dims, hidden_dims)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dims, out_dims or embed_dims)
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
