# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Small image models of every layout, for images of 32 x 32 pixels."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class MapBlock(nn.Module):
    """Residual convolution of (B, C, H, W)."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return x + self.norm(self.conv(x)).relu()


class MapModel(nn.Module):
    """Blocks on (B, C, 8, 8), and a classifier on vectors.

    The blocks are recomputed with the options of ``recompute``.
    """

    def __init__(self, channels=16, depth=2, head=False, recompute=None):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 4, 4)
        self.blocks = nn.Sequential(
            *(MapBlock(channels) for _ in range(depth))
        )
        self.head = nn.Linear(channels, 5)
        self.with_head = head
        self.recompute = recompute

    def forward(self, x):
        x = self.stem(x)
        if self.recompute is None:
            x = self.blocks(x)
        else:
            x = checkpoint(self.blocks, x, **self.recompute)
        return self.head(x.mean((2, 3))) if self.with_head else x


class TokenBlock(nn.Module):
    """Block on tokens (B, L, C), with a further argument."""

    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc = nn.Linear(channels, channels)

    def forward(self, x, grid):
        assert grid == (4, 4)
        return x + self.fc(self.norm(x)) + x.mean(1, keepdim=True)


class TokenModel(nn.Module):
    """Class and register tokens before 4 x 4 patches.

    Returns the tokens after each block.
    """

    def __init__(self, prefix=1, channels=16, depth=2, keyword=False):
        super().__init__()
        self.keyword = keyword
        self.embed = nn.Conv2d(3, channels, 8, 8)
        self.prefix = nn.Parameter(torch.randn(1, prefix, channels))
        self.blocks = nn.ModuleList(TokenBlock(channels) for _ in range(depth))

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.prefix.expand(len(x), -1, -1), x], dim=1)
        outs = []
        for block in self.blocks:
            x = block(grid=(4, 4), x=x) if self.keyword else block(x, (4, 4))
            outs.append(x)
        return tuple(outs)


class LastBlock(nn.Module):
    """Pointwise layer on (B, H, W, C)."""

    def __init__(self, channels):
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x):
        return x + self.fc(x)


class LastModel(nn.Module):
    """Blocks on (B, 8, 8, C), channels last."""

    def __init__(self, channels=16, depth=2):
        super().__init__()
        self.embed = nn.Conv2d(3, channels, 4, 4)
        self.blocks = nn.Sequential(
            *(LastBlock(channels) for _ in range(depth))
        )

    def forward(self, x):
        return self.blocks(self.embed(x).permute(0, 2, 3, 1))
