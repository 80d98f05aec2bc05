# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.models.embeddings import route_encoding, sincos_embedding


def test_encodings_of_positions_are_distinct():
    encoding = sincos_embedding((5, 7), 48)
    distances = torch.cdist(encoding, encoding) + 10 * torch.eye(35)
    assert encoding.shape == (35, 48)
    assert distances.min() > 0.5


def test_distance_depends_only_on_the_displacement():
    encoding = sincos_embedding((6, 6), 24).unflatten(0, (6, 6))
    right = (encoding[:, 1:] - encoding[:, :-1]).norm(dim=-1)
    down = (encoding[1:] - encoding[:-1]).norm(dim=-1)
    torch.testing.assert_close(right, torch.full_like(right, right[0, 0]))
    torch.testing.assert_close(down, right.T)


def test_root_mean_square_is_as_documented():
    encoding = sincos_embedding((4, 4), 16)
    torch.testing.assert_close(encoding.square().mean(), torch.tensor(0.5))


def test_refuses_channels_not_divisible_by_four():
    with pytest.raises(ValueError, match='multiple of 4.*got 50'):
        sincos_embedding((4, 4), 50)


def route(*positions):
    """Return one route through the given positions: (1, T, 1, 2)."""
    return torch.tensor(positions, dtype=torch.float32)[None, :, None]


def test_route_encoding_contains_positions_and_steps():
    encoding = route_encoding(route((0, 3), (2, 2), (2, 0)), (4, 5), 48)
    position, step = encoding[0, :, 0].chunk(2, dim=-1)
    table = 2 * sincos_embedding((4, 5), 24).unflatten(0, (4, 5))
    expected = [table[0, 3], table[2, 2], table[2, 0]]
    torch.testing.assert_close(position, torch.stack(expected))
    torch.testing.assert_close(step[0], table[0, 0])
    torch.testing.assert_close(step[1, :12], table[2, 0, :12])
    torch.testing.assert_close(step[2, 18:], table[0, 2, 18:])  # cosines
    torch.testing.assert_close(step[2, 12:18], -table[0, 2, 12:18])  # sines


@pytest.mark.parametrize(
    'outside, inside',
    [
        ((-1.4, 5.7), (0, 4)),
        ((9.0, -2.0), (3, 0)),
        ((float('nan'), 1), (0, 1)),
    ],
)
def test_positions_outside_of_the_grid_are_encoded_as_those_within(
    outside, inside
):
    torch.testing.assert_close(
        route_encoding(route((0, 3), outside), (4, 5), 48),
        route_encoding(route((0, 3), inside), (4, 5), 48),
    )


def test_encoding_of_a_step_does_not_depend_on_the_position():
    steps = [
        route_encoding(route((row, 1), (row - 1, 3)), (4, 4), 16)[0, 1, 0, 8:]
        for row in (1, 3)
    ]
    torch.testing.assert_close(*steps)


def test_encodings_of_opposite_large_steps_are_distinct():
    there = route_encoding(route((0, 0), (3, 6)), (4, 7), 32)
    back = route_encoding(route((3, 6), (0, 0)), (4, 7), 32)
    assert (there - back)[0, 1, 0, 16:].abs().max() > 0.5


def test_positions_between_patches_are_rounded():
    near = route_encoding(route((0.6, 1.2), (1.1, 1.9)), (3, 3), 16)
    whole = route_encoding(route((1, 1), (1, 2)), (3, 3), 16)
    assert torch.equal(near, whole)


def test_encoding_does_not_depend_on_the_default_dtype():
    expected = sincos_embedding((14, 14), 16)
    try:
        torch.set_default_dtype(torch.bfloat16)
        assert torch.equal(sincos_embedding((14, 14), 16), expected)
    finally:
        torch.set_default_dtype(torch.float32)
