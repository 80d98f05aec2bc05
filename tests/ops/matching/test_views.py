# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Both views give what the whole matrix of similarities gives."""

import pytest
import torch

from ata_mm.ops.matching.views import DenseSimilarity, FeatureSimilarity
from ata_mm.ops.norms import normalize

PAIRS, NUM, CHANNELS = 3, 10, 4
LEAST = 0.3


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, PAIRS, NUM, CHANNELS, generator=generator)
    return normalize(x)


@pytest.fixture
def whole(features):
    return features[0] @ features[1].transpose(1, 2)


@pytest.fixture(params=['given', 'from features'])
def view(request, features, whole):
    if request.param == 'given':
        return DenseSimilarity(whole)
    return FeatureSimilarity(*features)


@pytest.fixture
def raised(features):
    return FeatureSimilarity(*features, least=LEAST)


def test_all(view, whole):
    torch.testing.assert_close(view.dense(), whole)


def test_frames_are_swapped(view, whole):
    torch.testing.assert_close(
        view.transposed().dense(), whole.transpose(1, 2)
    )


def test_groups_of_rows_and_columns(view, whole):
    rows = torch.tensor([[[0, 3], [5, 1]]]).expand(PAIRS, -1, -1)
    columns = torch.tensor([[[2, 4], [9, 0]]]).expand(PAIRS, -1, -1)
    found = view.select(rows, columns).dense()
    assert found.shape == (PAIRS, 2, 2, 2)
    torch.testing.assert_close(found[1, 1, 0, 1], whole[1, 5, 0])


@pytest.mark.parametrize('pairs', [slice(0, 1), slice(1, 3)], ids=str)
@pytest.mark.parametrize('size', [2, 5])
def test_blocks_of_every_second_row(view, whole, pairs, size):
    # Copied: a view may use its memory for the next block.
    blocks = [block.clone() for block in view.blocks(pairs, 2, size)]
    torch.testing.assert_close(torch.cat(blocks, 1), whole[pairs, ::2])


def test_products_with_weights(view, whole):
    weight = torch.arange(PAIRS * NUM).view(PAIRS, NUM).float()
    expected = (whole * weight[:, None]).sum(2)
    torch.testing.assert_close(view.times(weight), expected)


def test_matched_patches(view, whole):
    matching = torch.arange(NUM).roll(1).expand(PAIRS, -1)
    found = view.matched(matching)
    torch.testing.assert_close(found[2, 0], whole[2, 0, NUM - 1])


def test_features_may_have_a_least_similarity(raised, whole):
    torch.testing.assert_close(raised.dense(), whole.clamp_min(LEAST))


def test_swapped_frames_keep_the_least_similarity(raised, whole):
    expected = whole.clamp_min(LEAST).transpose(1, 2)
    torch.testing.assert_close(raised.transposed().dense(), expected)


def test_groups_keep_the_least_similarity(raised, whole):
    every = torch.arange(NUM).expand(PAIRS, 1, -1)
    found = raised.select(every, every).dense().squeeze(1)
    torch.testing.assert_close(found, whole.clamp_min(LEAST))


def test_matched_patches_have_the_least_similarity(raised, whole):
    found = raised.matched(torch.arange(NUM).expand(PAIRS, -1))
    expected = whole.diagonal(dim1=1, dim2=2).clamp_min(LEAST)
    torch.testing.assert_close(found, expected)
