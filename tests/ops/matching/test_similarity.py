# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F

from ata_mm.ops import neighbour_similarity
from ata_mm.ops.matching.similarity import (
    aggregate,
    pair_similarity,
    unfold_support,
)

WINDOWS = [
    ((3, 4), 0),
    ((3, 4), 1),
    ((4, 3), 2),
    ((1, 5), 1),
    ((1, 1), 2),
    ((2, 3), 7),  # wider than the grid
]


def similarity_of(compare, x):
    """Return the similarities of neighbouring frames, by either function."""
    if compare is neighbour_similarity:
        return compare(x)
    return compare(x[:, :-1], x[:, 1:])


either = pytest.mark.parametrize(
    'compare', [neighbour_similarity, pair_similarity]
)


@either
def test_is_the_cosine_of_patches_of_two_frames(compare):
    x = torch.randn(2, 4, 5, 8)
    similarity = similarity_of(compare, x)
    expected = F.cosine_similarity(x[1, 2, 3], x[1, 3, 4], dim=0)
    assert similarity.shape == (2, 3, 5, 5)
    torch.testing.assert_close(similarity[1, 2, 3, 4], expected)


@either
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_is_computed_in_fp32_under_autocast(compare, dtype):
    x = torch.randn(1, 2, 16, 32).to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        similarity = similarity_of(compare, x)
    assert similarity.dtype == torch.float32
    torch.testing.assert_close(similarity, similarity_of(compare, x.float()))


@either
def test_is_outside_autograd(compare):
    x = torch.randn(1, 2, 4, 8, requires_grad=True)
    assert not similarity_of(compare, x).requires_grad


@either
def test_to_zeros_is_zero(compare):
    x = torch.randn(1, 2, 4, 8)
    x[0, 0, 1] = 0
    similarity = similarity_of(compare, x)
    assert similarity.isfinite().all()
    assert not similarity[0, 0, 1].any()


def test_one_frame_is_compared_with_all_others():
    x = torch.randn(2, 4, 5, 8)
    first = x[:, :1].expand(-1, 3, -1, -1)
    assert torch.equal(
        pair_similarity(x[:, :1], x[:, 1:]), pair_similarity(first, x[:, 1:])
    )


def aggregate_literally(similarity, grid, radius):
    """Average over the window, patch by patch, as the equation says."""
    height, width = grid
    result = torch.zeros_like(similarity)

    def shifted(patch, rows, columns):
        row = min(max(patch // width + rows, 0), height - 1)
        column = min(max(patch % width + columns, 0), width - 1)
        return row * width + column

    window = range(-radius, radius + 1)
    for i in range(height * width):
        for j in range(height * width):
            values = [
                similarity[..., shifted(i, a, b), shifted(j, a, b)]
                for a in window
                for b in window
            ]
            result[..., i, j] = torch.stack(values).mean(0)
    return result


@pytest.mark.parametrize('grid, radius', WINDOWS)
def test_support_is_averaged_with_repeated_borders(grid, radius):
    num = grid[0] * grid[1]
    similarity = torch.randn(2, num, num)
    torch.testing.assert_close(
        aggregate(similarity, grid, radius),
        aggregate_literally(similarity, grid, radius),
    )


def test_support_of_a_view_is_that_of_its_values():
    similarity = torch.randn(2, 12, 12)
    torch.testing.assert_close(
        aggregate(similarity.transpose(1, 2), (3, 4), 1),
        aggregate(similarity, (3, 4), 1).transpose(1, 2),
    )


def test_given_similarities_are_left_as_they_are():
    similarity = torch.randn(2, 12, 12)
    before = similarity.clone()
    aggregate(similarity, (3, 4), 1)
    assert torch.equal(similarity, before)


def test_gradients_of_the_support_are_correct():
    similarity = torch.randn(6, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda s: aggregate(s, (2, 3), 1), similarity
    )


@pytest.mark.parametrize('grid, radius', WINDOWS)
def test_products_of_unfolded_features_are_aggregated(grid, radius):
    x, y = torch.randn(2, 3, grid[0] * grid[1], 4)
    products = unfold_support(x, grid, radius) @ unfold_support(
        y, grid, radius
    ).transpose(1, 2)
    torch.testing.assert_close(
        products, aggregate(x @ y.transpose(1, 2), grid, radius)
    )


def test_unfolded_features_of_no_frame_are_none():
    assert unfold_support(torch.rand(2, 0, 12, 4), (3, 4), 1).shape == (
        (2, 0, 12, 36)
    )
