# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F

from ata_mm.checkpoints.embeddings import (
    resize_pos_embed,
    resize_square_pos_embed,
    resize_time_bias,
    resize_time_embed,
)


def test_a_position_embedding_that_fits_is_kept():
    embed = torch.randn(1, 1 + 16, 8)
    assert resize_pos_embed(embed, (4, 4)) is embed


def test_the_class_token_keeps_its_embedding():
    embed = torch.randn(1, 1 + 16, 8)
    resized = resize_pos_embed(embed, (6, 7))
    assert resized.shape == (1, 1 + 42, 8)
    assert torch.equal(resized[:, 0], embed[:, 0])


def test_rows_and_columns_are_not_swapped():
    rows = torch.arange(4.0)[:, None].expand(4, 4).reshape(1, 16, 1)
    embed = torch.cat([torch.zeros(1, 1, 1), rows], 1)
    plane = resize_pos_embed(embed, (8, 6))[0, 1:, 0].view(8, 6)
    assert (plane.diff(dim=0) > 0).all()
    torch.testing.assert_close(plane, plane[:, :1].expand(8, 6))


def test_positions_are_those_of_the_centres_of_patches():
    plane = torch.randn(1, 8, 4, 4)
    resized = resize_pos_embed(plane.flatten(2).transpose(1, 2), (6, 8), 0)
    expected = F.interpolate(
        plane, (6, 8), mode='bicubic', align_corners=False
    )
    torch.testing.assert_close(
        resized, expected.flatten(2).transpose(1, 2), rtol=0, atol=0
    )


def test_positions_keep_their_precision():
    embed = torch.randn(1, 1 + 16, 8).half()
    assert resize_pos_embed(embed, (6, 6)).dtype == torch.half


def test_refuses_positions_of_no_square_grid():
    with pytest.raises(ValueError, match='square grid, got 16 tokens'):
        resize_pos_embed(torch.randn(1, 1 + 15, 8), (4, 4))


@pytest.mark.parametrize('prefix', [0, 1, 2, 5])
def test_tokens_that_are_no_patches_are_found(prefix):
    embed = torch.randn(1, prefix + 16, 8)
    resized = resize_square_pos_embed(embed, prefix + 36)
    assert torch.equal(resized[:, :prefix], embed[:, :prefix])
    torch.testing.assert_close(
        resized, resize_pos_embed(embed, (6, 6), prefix)
    )


def test_a_grid_that_cannot_be_told_is_left_alone():
    embed = torch.randn(1, 16, 8)
    assert resize_square_pos_embed(embed, 15) is embed


def test_time_is_interpolated_linearly():
    embed = torch.arange(4.0).view(1, 4, 1)
    resized = resize_time_embed(embed, 8)[0, :, 0]
    torch.testing.assert_close(resized[1:-1].diff(), torch.full((5,), 0.5))


def test_a_time_embedding_that_fits_is_kept():
    embed = torch.randn(1, 8, 4)
    assert resize_time_embed(embed, 8) is embed


def test_a_grid_that_is_no_square_is_resized():
    rows = torch.arange(4.0)[:, None].expand(4, 9).reshape(1, 36, 1)
    embed = torch.cat([torch.zeros(1, 1, 1), rows], 1)
    plane = resize_pos_embed(embed, (6, 6), source=(4, 9))[0, 1:, 0]
    assert (plane.view(6, 6).diff(dim=0) > 0).all()
    assert resize_pos_embed(embed, (4, 9), source=(4, 9)) is embed


def test_a_grid_of_another_size_is_an_error():
    with pytest.raises(ValueError, match='pos_embed of 1 . 4 x 8'):
        resize_pos_embed(torch.zeros(1, 37, 1), (6, 6), source=(4, 8))


@pytest.mark.parametrize('frames', [1, 2, 8, 13])
def test_a_time_bias_keeps_its_centre_and_order(frames):
    bias = torch.stack([torch.arange(-3.0, 4), -torch.arange(-3.0, 4).abs()])
    resized = resize_time_bias(bias, frames)
    assert resized.shape == (2, 2 * frames - 1)
    assert resized[:, frames - 1].tolist() == [0, 0]
    assert (resized[0].diff() >= 0).all()
    torch.testing.assert_close(resized[1], resized[1].flip(0))


def test_a_time_bias_that_fits_is_kept():
    bias = torch.randn(2, 7)
    assert resize_time_bias(bias, 4) is bias


def test_half_as_many_frames_are_twice_as_far_apart():
    bias = torch.arange(-7.0, 8)[None]  # of 8 frames
    assert resize_time_bias(bias, 4)[0].tolist() == [-6, -4, -2, 0, 2, 4, 6]
