# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""On a GPU if there is one, else by triton's interpreter, see conftest."""

import pytest
import torch
import torch.nn.functional as F

from ata_mm.ops.kernels import pairwise_cosine

pytest.importorskip('triton')
module = pytest.importorskip('ata_mm.ops.kernels.similarity')
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


def assert_cosines(source, target):
    """Compare the similarities with those in double precision."""
    found = pairwise_cosine(source.to(DEVICE), target.to(DEVICE))
    first, second = (F.normalize(x.double(), dim=-1) for x in (source, target))
    expected = first @ second.transpose(2, 3)
    assert found.dtype == torch.float32 and found.is_contiguous()
    torch.testing.assert_close(
        found.cpu().double(), expected, rtol=0, atol=2e-6
    )


@pytest.mark.parametrize('num', [1, 7, 64, 65, 130])
@pytest.mark.parametrize('channels', [1, 32, 50])
def test_are_cosines_for_any_size(num, channels):
    x = torch.randn(1, 2, num, channels)
    assert_cosines(x[:, :1], x[:, 1:])


def test_are_as_precise_with_the_channels_of_a_model():
    x = torch.randn(1, 2, 66, 768)
    x[:, 1] = x[:, 0] + 0.01 * x[:, 1]  # near 1, where much is added up
    assert_cosines(x[:, :1], x[:, 1:])


@pytest.mark.parametrize(
    'dtype', [torch.float32, torch.bfloat16, torch.float16]
)
def test_are_cosines_of_views_of_a_clip(dtype):
    tokens = torch.randn(2, 4, 9, 40).to(dtype)
    x = tokens[:, :, 1:]
    assert_cosines(x[:, :-1], x[:, 1:])


@pytest.mark.parametrize('layout', [(0, 2, 1, 3), (0, 1, 3, 2), (3, 0, 1, 2)])
def test_are_cosines_of_permuted_views(layout):
    x = torch.randn(3, 4, 5, 6).permute(layout)
    assert_cosines(x, x.flip(0))


@pytest.mark.parametrize('first, second', [(0, 1), (1, 0), (0, 2)])
def test_are_cosines_of_any_frames_of_a_clip(first, second):
    x = torch.randn(2, 4, 9, 40)
    assert_cosines(x[:, first : first + 2], x[:, second : second + 2])


def test_are_cosines_of_different_clips_in_one_storage():
    x = torch.randn(4, 2, 9, 40)
    assert_cosines(x[:2], x[2:])


def test_one_frame_is_compared_with_all_others():
    x = torch.randn(2, 4, 9, 40)
    assert_cosines(x[:, :1], x[:, 1:])


def test_frames_of_another_dtype_are_compared():
    x = torch.randn(2, 4, 9, 40)
    assert_cosines(x[:, :-1], x[:, 1:].half())


def test_no_frame_pair_has_no_similarity():
    x = torch.randn(2, 1, 9, 40, device=DEVICE)
    assert pairwise_cosine(x[:, :-1], x[:, 1:]).shape == (2, 0, 9, 9)


def test_zeros_have_similarity_0():
    x = torch.randn(1, 2, 9, 40, device=DEVICE)
    x[0, 0, 3] = 0
    found = pairwise_cosine(x[:, :-1], x[:, 1:])
    assert found.isfinite().all() and not found[0, 0, 3].any()


@pytest.mark.filterwarnings('ignore:invalid value')
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_what_is_not_finite_has_similarity_nan(value):
    x = torch.randn(1, 2, 9, 40, device=DEVICE)
    x[0, 1, 3, 5] = value
    found = pairwise_cosine(x[:, :-1], x[:, 1:])
    bad = torch.arange(9, device=DEVICE) == 3
    assert torch.equal(found[0, 0].isnan(), bad.expand(9, 9))


@pytest.mark.parametrize('scale', [1e-30, 1e30])
def test_do_not_depend_on_the_norm(scale):
    x = torch.randn(1, 3, 9, 40, device=DEVICE)
    expected = pairwise_cosine(x[:, :-1], x[:, 1:])
    found = pairwise_cosine(x[:, :-1] * scale, x[:, 1:])
    torch.testing.assert_close(found, expected)


def test_more_patches_than_int32_can_count_are_refused(monkeypatch):
    monkeypatch.setattr(module, 'MAX_PATCHES', 8)
    x = torch.randn(1, 2, 9, 4, device=DEVICE)
    with pytest.raises(ValueError, match='at most 8 patches, got N = 9'):
        pairwise_cosine(x[:, :-1], x[:, 1:])
