# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from torch import nn

from ata_mm.models.temporal.attention import SelfAttention


@pytest.mark.parametrize('dim', [1, 2])
def test_equals_torch_multihead_attention_along_the_dimension(dim):
    ours = SelfAttention(24, num_heads=3)
    peer = nn.MultiheadAttention(24, 3, batch_first=True)
    peer.load_state_dict({
        'in_proj_weight': ours.qkv.weight,
        'in_proj_bias': ours.qkv.bias,
        'out_proj.weight': ours.proj.weight,
        'out_proj.bias': ours.proj.bias
    })
    x = torch.randn(2, 5, 7, 24)
    moved = x.movedim(dim, 2)
    rows = moved.flatten(0, 1)
    expected = peer(rows, rows, rows)[0].view(moved.shape).movedim(2, dim)
    torch.testing.assert_close(ours(x, dim), expected, atol=1e-5, rtol=0)


def test_refuses_heads_that_do_not_divide_the_channels():
    with pytest.raises(ValueError, match='num_heads=5 and embed_dims=24'):
        SelfAttention(24, num_heads=5)
