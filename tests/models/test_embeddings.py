# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.models.embeddings import route_encoding, sincos_embedding


def test_every_place_has_its_own_code():
    code = sincos_embedding((5, 7), 48)
    distances = torch.cdist(code, code) + 10 * torch.eye(35)
    assert code.shape == (35, 48)
    assert distances.min() > 0.5


def test_distance_depends_on_the_displacement_alone():
    code = sincos_embedding((6, 6), 24).unflatten(0, (6, 6))
    right = (code[:, 1:] - code[:, :-1]).norm(dim=-1)
    down = (code[1:] - code[:-1]).norm(dim=-1)
    torch.testing.assert_close(right, torch.full_like(right, right[0, 0]))
    torch.testing.assert_close(down, right.T)


def test_scale():
    code = sincos_embedding((4, 4), 16)
    torch.testing.assert_close(code.square().mean(), torch.tensor(0.5))


def test_refuses_channels_that_cannot_be_shared_out():
    with pytest.raises(ValueError, match='multiple of 4.*got 50'):
        sincos_embedding((4, 4), 50)


def routes(*places):
    """One route through the given places: (1, T, 1, 2)."""
    return torch.tensor(places, dtype=torch.float32)[None, :, None]


def test_code_of_a_route_is_its_places_and_its_steps():
    code = route_encoding(routes((0, 3), (2, 2), (2, 0)), (4, 5), 48)
    place, step = code[0, :, 0].chunk(2, dim=-1)
    table = 2 * sincos_embedding((4, 5), 24).unflatten(0, (4, 5))
    expected = [table[0, 3], table[2, 2], table[2, 0]]
    torch.testing.assert_close(place, torch.stack(expected))
    torch.testing.assert_close(step[0], table[0, 0])
    torch.testing.assert_close(step[1, :12], table[2, 0, :12])
    torch.testing.assert_close(step[2, 18:], table[0, 2, 18:])  # cosines
    torch.testing.assert_close(step[2, 12:18], -table[0, 2, 12:18])  # sines


def test_step_is_coded_alike_at_every_place():
    steps = [
        route_encoding(routes((row, 1), (row - 1, 3)), (4, 4),
                        16)[0, 1, 0, 8:] for row in (1, 3)
    ]
    torch.testing.assert_close(*steps)


def test_largest_steps_have_their_own_codes():
    there = route_encoding(routes((0, 0), (3, 6)), (4, 7), 32)
    back = route_encoding(routes((3, 6), (0, 0)), (4, 7), 32)
    assert (there - back)[0, 1, 0, 16:].abs().max() > 0.5


def test_places_between_patches_are_rounded():
    near = route_encoding(routes((0.6, 1.2), (1.1, 1.9)), (3, 3), 16)
    whole = route_encoding(routes((1, 1), (1, 2)), (3, 3), 16)
    assert torch.equal(near, whole)
