# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Multi-head self-attention along any one dimension."""
from typing import Optional

import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head self-attention with the parameter names of timm's ViT.

    Args:
        embed_dims (int): Channels C.
        num_heads (int): Number of heads; divides C.
        qkv_bias (bool): Whether query, key and value have a bias. Defaults to
            True.

    Raises:
        ValueError: If ``num_heads`` does not divide ``embed_dims``.
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 qkv_bias: bool = True) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(
                'Expected num_heads to divide embed_dims, got num_heads='
                f'{num_heads} and embed_dims={embed_dims}.')
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        # Xavier for each matrix by itself, as in the original ViT: of
        # normalised tokens it makes attention logits of unit variance.
        for weight in (*self.qkv.weight.chunk(3), self.proj.weight):
            nn.init.xavier_uniform_(weight)
        for bias in (self.qkv.bias, self.proj.bias):
            if bias is not None:
                nn.init.zeros_(bias)

    def forward(self,
                x: Tensor,
                dim: int,
                bias: Optional[Tensor] = None) -> Tensor:
        """Attend along one dimension, the others being independent.

        Args:
            x (Tensor): Features (..., C), of three dimensions or more.
            dim (int): The dimension, of length L, to attend along.
            bias (Tensor, optional): Added to the logits, (heads, L, L).
                Defaults to None.

        Returns:
            Tensor: As x.
        """
        qkv = self.qkv(x).movedim(dim, -2)  # (..., L, 3C)
        lead = qkv.shape[:-2]
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1))
        qkv = qkv.movedim(-3, 0).transpose(-2, -3)  # (3, ..., heads, L, d)
        # Fused kernels want exactly (batch, heads, L, d).
        query, key, value = qkv.reshape(3, -1, *qkv.shape[-3:])
        out = F.scaled_dot_product_attention(query, key, value, bias)
        out = out.unflatten(0, lead).transpose(-2, -3).flatten(-2)
        return self.proj(out.movedim(-2, dim))
