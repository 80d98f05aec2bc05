# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Algorithms 1 and 2 on cases that are solved by hand."""

import torch

from ata_mm.ops.reference import align_literal, dealign_literal

A, B, C = torch.eye(3)
# Three frames of 1 x 3 patches: A moves by one patch to the right a frame.
CLIP = torch.stack([A, B, C, C, A, B, B, C, A]).view(3, 1, 3, 3)


def test_patches_keep_the_order_of_frame_0():
    aligned, _ = align_literal(CLIP)
    assert torch.equal(aligned, torch.stack([A, B, C]).expand(3, 1, 3, 3))


def test_dealignment_matrices_are_those_of_the_later_frames():
    _, dealignment = align_literal(CLIP)
    # Row j has its 1 in the column of the route through patch j: patch 0 of
    # frame 1 is C, on route 2.
    first = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    second = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert dealignment.tolist() == [first, second]


def test_dealignment_restores_the_clip():
    assert torch.equal(dealign_literal(*align_literal(CLIP)), CLIP)


def test_the_total_is_maximised_and_not_each_similarity():
    # Vectors at 26 and -37 degrees, then at 0 and 63. The one at 0 is nearest
    # to both, but the other two are 100 degrees apart: 0.90 - 0.17 in total,
    # against 0.80 + 0.80 for the exchange.
    angles = torch.tensor([[26.0, -37.0], [0.0, 63.0]]).deg2rad()
    x = torch.stack([angles.cos(), angles.sin()], -1)[:, None]
    aligned, dealignment = align_literal(x)
    assert torch.equal(aligned[1, 0], x[1, 0].flip(0))
    assert dealignment.tolist() == [[[0, 1], [1, 0]]]


def test_the_input_is_unchanged():
    x = CLIP.clone()
    dealign_literal(*align_literal(x))
    assert torch.equal(x, CLIP)
