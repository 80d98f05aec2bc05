# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F

from ata_mm.ops import neighbour_similarity


def test_entry_is_the_cosine_of_patches_of_neighbouring_frames():
    x = torch.randn(2, 4, 5, 8)
    similarity = neighbour_similarity(x)
    expected = F.cosine_similarity(x[1, 2, 3], x[1, 3, 4], dim=0)
    assert similarity.shape == (2, 3, 5, 5)
    torch.testing.assert_close(similarity[1, 2, 3, 4], expected)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_computed_in_fp32_under_autocast(dtype):
    x = torch.randn(1, 2, 16, 32).to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        similarity = neighbour_similarity(x)
    assert similarity.dtype == torch.float32
    torch.testing.assert_close(similarity, neighbour_similarity(x.float()))


def test_outside_autograd():
    x = torch.randn(1, 2, 4, 8, requires_grad=True)
    assert not neighbour_similarity(x).requires_grad


def test_patches_of_zeros_are_like_nothing():
    x = torch.randn(1, 2, 4, 8)
    x[0, 0, 1] = 0
    similarity = neighbour_similarity(x)
    assert similarity.isfinite().all()
    assert not similarity[0, 0, 1].any()
